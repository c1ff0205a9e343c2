"""Scenes, their captions and the judge that reads pictures: exact on what is drawn, honest on what is damaged."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageFilter

from small_world.captions import SHORT_WORDS, dense_caption, short_caption, typed_caption
from small_world.claims import Claim, Looks
from small_world.judge import shapes_in
from small_world.scenes import COLOURS, HELD_OUT, KINDS, Scene, arranged_scene, draw, random_scene

SCENES = 10_000


def looks_of(shapes):
    return sorted((shape.kind, shape.colour, shape.size) for shape in shapes)


def scene(number):
    """Every fifth is of held-out pairs."""
    return random_scene(Random(number), held_out=number % 5 == 4)


def test_the_judge_reads_every_drawn_scene_and_every_claim_of_its_captions():
    for number in range(SCENES):
        drawn = scene(number)
        found = shapes_in(draw(drawn))
        assert looks_of(found) == looks_of(drawn.shapes), number
        claims = [
            claim
            for caption in (short_caption, dense_caption, typed_caption)
            for claim in caption(drawn, Random(number)).claims
        ]
        for claim in claims:
            assert claim.holds(drawn.shapes) and claim.holds(found), (number, claim)
            assert Claim.from_question(claim.question()) == claim


def test_an_arranged_scene_is_what_a_person_types():
    relations = 0
    for number in range(2000):
        drawn = arranged_scene(Random(number))
        assert not {(shape.kind, shape.colour) for shape in drawn.shapes} & HELD_OUT and len(drawn.shapes) <= 6
        found = shapes_in(draw(drawn))
        assert looks_of(found) == looks_of(drawn.shapes), number
        claims = typed_caption(drawn, Random(number)).claims
        assert all(claim.holds(drawn.shapes) and claim.holds(found) for claim in claims), number
        relations += any(claim.relation not in (None, "at") for claim in claims)
    assert relations > 1500


def test_a_seed_makes_one_scene_and_one_caption():
    for number in range(50):
        assert scene(number) == scene(number)
        assert dense_caption(scene(number), Random(7)) == dense_caption(scene(number), Random(7))
        assert draw(scene(number)).tobytes() == draw(scene(number)).tobytes()


def test_held_out_pairs_never_appear_in_training_and_alone_where_they_are_asked_for():
    for number in range(2000):
        drawn = scene(number)
        assert {(shape.kind, shape.colour) in HELD_OUT for shape in drawn.shapes} == {number % 5 == 4}
        assert 1 <= len(drawn.shapes) <= 6
    assert {kind for kind, _ in HELD_OUT} == set(KINDS)


def test_short_captions_are_short_and_dense_ones_dense():
    short = [len(short_caption(scene(i), Random(i)).text.split()) for i in range(2000)]
    dense = [len(dense_caption(scene(i), Random(i)).text.split()) for i in range(2000)]
    assert max(short) <= SHORT_WORDS and min(dense) >= 30
    assert max(dense) > 100 and np.median(dense) > 45


@pytest.mark.parametrize("number", range(40))
def test_what_is_damaged_a_little_is_read_as_before(number):
    drawn = scene(number)
    picture = draw(drawn)
    noisy = np.asarray(picture, np.float32) + np.random.default_rng(number).normal(0, 10, (64, 64, 3))
    noisy = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
    large = picture.resize((512, 512), Image.Resampling.BICUBIC)
    for damaged in (noisy, large):
        assert looks_of(shapes_in(damaged)) == looks_of(drawn.shapes)


def test_what_is_damaged_much_is_read_as_what_it_is_now():
    drawn = next(s for s in map(scene, range(100)) if len(s.shapes) == 4 and all(g.inside is None for g in s.groups))
    first = drawn.shapes[0]
    box = [round(v) for v in (first.x - 11, first.y - 11, first.x + 11, first.y + 11)]
    erased = draw(drawn)
    erased.paste((255, 255, 255), box)
    assert len(shapes_in(erased)) < 4
    colour = next(name for name in COLOURS if name not in {shape.colour for shape in drawn.shapes})
    groups = (replace(drawn.groups[0], shapes=tuple(replace(s, colour=colour) for s in drawn.groups[0].shapes)),)
    painted = shapes_in(draw(Scene(groups + drawn.groups[1:])))
    assert looks_of(painted) != looks_of(drawn.shapes)
    assert len([shape for shape in painted if shape.colour == colour]) == len(drawn.groups[0].shapes)
    smeared = draw(drawn).filter(ImageFilter.GaussianBlur(8))
    assert shapes_in(smeared) == []
    assert shapes_in(Image.new("RGB", (64, 64), (255, 255, 255))) == []
    mess = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    assert shapes_in(mess) == []


def test_claims_that_are_wrong_do_not_hold():
    red, blue = Looks(1, "small", "red", "circle"), Looks(1, None, "blue", "square")
    drawn = next(
        s
        for s in map(scene, range(5000))
        if len(s.groups) == 2
        and red.among(s.shapes)
        and blue.among(s.shapes)
        and all(g.inside is None for g in s.groups)
    )
    a, b = red.among(drawn.shapes)[0], blue.among(drawn.shapes)[0]
    sides = {"to the left of": a.x + 5 < b.x, "to the right of": b.x + 5 < a.x, "above": a.y + 5 < b.y}
    for relation, holds in sides.items():
        assert Claim(red, relation, others=(blue,)).holds(drawn.shapes) == holds
    assert not Claim(Looks(1, "large", "red", "circle")).holds(drawn.shapes)
    assert not Claim(Looks(1, None, "red", "square")).holds(drawn.shapes)
    assert not Claim(Looks(2, "small", "red", "circle")).holds(drawn.shapes)


def test_other_questions_are_refused():
    with pytest.raises(ValueError, match="is not a question of the small world"):
        Claim.from_question("Is there a fox?")
