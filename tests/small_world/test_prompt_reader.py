"""What is read of a prompt: the claims of captions of drawn scenes, and those of phrases that a person writes."""

from random import Random

import pytest

from small_world.captions import dense_caption, short_caption, typed_caption
from small_world.claims import Claim, Looks
from small_world.description import judgement, outside, shown
from small_world.judge import shapes_in
from small_world.prompt_reader import read_prompt
from small_world.scenes import Group, Scene, Shape, arranged_scene, draw, random_scene

CIRCLE, SQUARE = Looks(1, None, "red", "circle"), Looks(1, "large", "blue", "square")
TRIANGLES, CROSS = Looks(2, "small", "green", "triangle"), Looks(1, None, "black", "cross")
DEMO = "a red circle to the left of a large blue square, above them two small green triangles"


@pytest.mark.parametrize(
    ("scene_of", "caption_of"),
    ((random_scene, dense_caption), (random_scene, typed_caption), (arranged_scene, typed_caption)),
)
def test_a_captions_claims_are_read_and_no_others(scene_of, caption_of):
    for number in range(2000):
        caption = caption_of(scene_of(Random(number)), Random(number))
        reading = read_prompt(caption.text)
        assert (set(reading.claims), reading.unknown) == (set(caption.claims), ()), caption.text


def test_a_short_captions_claims_are_read_and_nothing_that_is_not_so():
    for number in range(2000):
        scene = random_scene(Random(number))
        caption = short_caption(scene, Random(number))
        reading = read_prompt(caption.text)
        assert set(caption.claims) <= set(reading.claims) and not reading.unknown, caption.text
        assert all(claim.holds(scene.shapes) for claim in reading.claims), caption.text


def there(*groups):
    return {Claim(looks) for looks in groups}


@pytest.mark.parametrize(
    ("prompt", "relations"),
    [
        (
            DEMO,
            {
                Claim(CIRCLE, "to the left of", others=(SQUARE,)),
                Claim(TRIANGLES, "above", others=(CIRCLE,)),
                Claim(TRIANGLES, "above", others=(SQUARE,)),
            },
        ),
        (
            "A red circle. Right of it two small green triangles",
            {Claim(TRIANGLES, "to the right of", others=(CIRCLE,))},
        ),
        ("a red circle at the top left and a black cross", {Claim(CIRCLE, "at", "upper left")}),
        (
            "On the left a red circle, on the right a black cross",
            {Claim(CIRCLE, "at", "left"), Claim(CROSS, "at", "right")},
        ),
        (
            "a red circle below a large blue square and to the left of a black cross",
            {Claim(CIRCLE, "below", others=(SQUARE,)), Claim(CIRCLE, "to the left of", others=(CROSS,))},
        ),
        (
            "a red circle between a large blue square and a black cross",
            {Claim(CIRCLE, "between", others=(SQUARE, CROSS))},
        ),
        (
            "a large blue square; a black cross; between them a red circle",
            {Claim(CIRCLE, "between", others=(SQUARE, CROSS))},
        ),
        ("a red circle. It is inside a large blue square", {Claim(CIRCLE, "inside", others=(SQUARE,))}),
        ("THE RED CIRCLE, in the bottom row", {Claim(CIRCLE, "at", "bottom row")}),
    ],
)
def test_a_persons_phrases(prompt, relations):
    reading = read_prompt(prompt)
    groups = [one.looks for one in relations] + [other for one in relations for other in one.others]
    assert reading.unknown == ()
    assert {claim for claim in reading.claims if claim.relation} == relations
    assert there(*groups) <= set(reading.claims)


@pytest.mark.parametrize(
    ("prompt", "unknown", "claims"),
    [
        ("a red fox beside a blue square", ("red", "fox", "beside"), 1),
        ("a square", ("square",), 0),
        ("", (), 0),
        ("Ein roter Kreis", ("ein", "roter", "kreis"), 0),
    ],
)
def test_what_lies_outside_the_world_is_named(prompt, unknown, claims):
    reading = read_prompt(prompt)
    assert (reading.unknown, len(reading.claims)) == (unknown, claims)
    sentence = outside(reading)
    assert "This world knows circles, squares, triangles and crosses" in sentence
    assert all(word in sentence for word in unknown)


def test_a_picture_is_told_and_judged():
    def group(count, size, colour, kind, y, diameter):
        return Group(tuple(Shape(kind, colour, size, 10.5 + 22 * i, y, diameter) for i in range(count)), "")

    circle = group(1, "small", "red", "circle", 32, 11)
    square = Group((Shape("square", "blue", "large", 53, 32, 17),), "")
    scene = Scene((circle, square, group(2, "small", "green", "triangle", 10, 11)))
    reading = read_prompt(DEMO)
    assert outside(reading) is None
    (line,) = judgement(reading, shapes_in(draw(scene)))
    assert line.startswith("6 of 6 right: a red circle; a large blue square; a red circle to the left of")
    assert "a small red circle (left)" in shown(shapes_in(draw(scene)))
    right, wrong = judgement(reading, shapes_in(draw(Scene((square,)))))
    assert right == "1 of 6 right: a large blue square" and wrong.startswith("not there: a red circle; ")
    assert shown(shapes_in(draw(Scene(())))) == "no shape of this world"
