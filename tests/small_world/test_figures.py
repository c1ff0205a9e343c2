"""The table and the plots of a study from its lines, with pictures that were drawn right, wrong or not at all."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from ella_core.errors import ELLAError
from small_world.figures import both_right, figures, usual_steps
from small_world.judge import shapes_in
from small_world.measure import asked, judged, summary
from small_world.scenes import Scene, draw
from small_world.shares import difference, share


def line(named, drawn):
    """A line of results of 60 prompts, `drawn` giving the scene whose picture each one got."""
    prompts = asked(60)
    rights = [judged(one, shapes_in(draw(drawn(one.scene)))) for one in prompts]
    named = {"seed": 0, "captions": "dense", "held_out": False} | named
    return named | summary(rights) | {"pictures": [asdict(right) for right in rights]}


def test_a_study_is_drawn_again_from_its_lines(tmp_path):
    tsc = {"kind": "tsc", "depth": 6, "steps": 10, "language_model": "minilm", "told": None}
    lines = [
        line({"cell": "own text encoder"}, lambda scene: Scene(())),
        line({"cell": "demo"}, lambda scene: scene),
        line({"cell": "demo", "captions": "typed"}, lambda scene: scene),
        line({"cell": "tsc-6", **tsc}, lambda scene: scene),
        line({"cell": "tsc-6", **tsc, "told": "timestep 500"}, lambda scene: Scene(scene.groups[:1])),
        line({"cell": "tsc-6-1", **tsc, "seed": 1}, lambda scene: scene),
        line({"cell": "tsc-6-5", **tsc, "steps": 5}, lambda scene: Scene(scene.groups[:1])),
        line({"cell": "tsc-6-smollm", **tsc, "language_model": "smollm"}, lambda scene: Scene(())),
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    text, order = figures([tmp_path], tmp_path / "out").split("\n\n")
    rows = {row.split("|")[1].strip(): row.split("|")[2:] for row in text.splitlines()[2:]}
    trained = ["TSC x6", "TSC x6, told timestep 500", "TSC x6, 5 steps", "TSC x6, read by SmolLM2"]
    assert list(rows) == ["the base's own text encoder", "the demo's TSC x6", *trained]
    assert [cell.split()[0] for cell in rows["TSC x6"][:5]] == ["100.0"] * 5
    assert [cell.split()[:1] for name in list(rows)[:3] for cell in rows[name][7:8]] == [[], ["100.0"], []]
    assert rows["the base's own text encoder"][0].split() == ["0.0", "(0.0..0.0)"]
    assert 20 < float(rows["TSC x6, told timestep 500"][0].split()[0]) < 80
    decoder, told = order.splitlines()[2:]  # one kind alone has no order
    assert decoder.startswith("| TSC x6, read by SmolLM2 over TSC x6 | -100.0")
    assert told.startswith("| TSC x6, told timestep 500 over TSC x6 | -")
    for name in ("by_objects.png", "by_words.png", "by_steps.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.width > 600 and len(picture.convert("RGB").getcolors(2**20)) > 20


def test_what_two_studies_measured_counts_once(tmp_path):
    own, tsc = {"cell": "own text encoder"}, {"cell": "tsc-6", "kind": "tsc", "depth": 6, "steps": 10}
    tsc |= {"language_model": "minilm", "told": None}
    for number, lines in enumerate(([own], [own, tsc])):
        (tmp_path / str(number)).mkdir()
        text = "".join(json.dumps(line(one, lambda scene: scene)) + "\n" for one in lines)
        (tmp_path / str(number) / "results.jsonl").write_text(text)
    both = figures([tmp_path / "0", tmp_path / "1"], tmp_path / "out")
    assert both == figures([tmp_path / "1"], tmp_path / "out") and "TSC x6" in both


def numbered(rights, of=3):
    return [{"number": number, "bound": (right, of)} for number, right in enumerate(rights)]


def test_an_interval_holds_the_share_and_narrows_with_more_prompts():
    few, many = (share([numbered([number % 3 for number in range(count)])], "bound") for count in (30, 300))
    assert few[0] == many[0] == pytest.approx(100 / 3)
    assert few[1] < many[1] < many[0] < many[2] < few[2]
    assert share([numbered([0] * 5, of=0)], "bound") is None and share([], "bound") is None


def test_an_interval_of_one_shape_a_prompt_agrees_with_the_binomial_distribution():
    rng = np.random.default_rng(5)
    _, low, high = share([numbered(rng.random(400) < 0.3, of=1)], "bound")
    assert high - low == pytest.approx(2 * 1.96 * 100 * (0.3 * 0.7 / 400) ** 0.5, rel=0.1)  # a tenth: 2,000 resamples


def test_seeds_that_differ_widen_an_interval_however_many_prompts_there_are():
    alike, apart = [numbered([1, 2] * 200)] * 3, [numbered([n] * 400) for n in (1, 2, 3)]
    assert share(alike, "bound")[2] - share(alike, "bound")[1] < 4
    assert share(apart, "bound") == (pytest.approx(200 / 3), pytest.approx(100 / 3), pytest.approx(100))


def test_a_difference_is_of_the_same_prompts():
    worse = numbered([number % 3 for number in range(300)])
    better = numbered([number % 3 + 1 for number in range(300)])
    assert difference([better], [worse], "bound") == tuple(pytest.approx(100 / 3) for _ in range(3))
    assert difference([better], [], "bound") is None
    seeds = [numbered([n] * 50) for n in (0, 1, 2)]
    more = [numbered([n + 1] * 50) for n in (0, 1, 2)]
    assert difference(more, seeds, "bound", same_trainings=True) == tuple(pytest.approx(100 / 3) for _ in range(3))
    assert difference(more, seeds, "bound")[1] < 0


def test_what_a_kind_has_more_than_the_one_before_it(tmp_path):
    named = [{"cell": kind, "kind": kind, "depth": depth} for kind, depth in (("mlp", None), ("resampler", 1))]
    named = [one | {"steps": 10, "language_model": "minilm", "told": None} for one in named]
    lines = [line(named[0], lambda scene: Scene(())), line(named[1], lambda scene: scene)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (row,) = figures([tmp_path], tmp_path / "out").splitlines()[-1:]
    assert row.startswith("| resampler x1 over MLP | +100.0 (+100.0..+100.0) | +100.0")


def test_the_usual_steps_are_those_of_most_kinds_and_of_several_the_most():
    def trained(*pairs):
        return [{"kind": kind, "depth": 6, "steps": steps} for kind, steps in pairs]

    assert usual_steps(trained(("tsc", 9), ("tsc", 9), ("tsc", 5), ("mlp", 5))) == 5
    assert usual_steps(trained(("tsc", 9), ("mlp", 9), ("tsc", 5), ("mlp", 5))) == 9
    assert usual_steps([{"cell": "demo"}]) == 0


def test_a_swapped_pair_is_right_where_both_pictures_are():
    right, wrong = {"number": 1, "bound": [2, 2]}, {"number": 1, "bound": [1, 2]}
    pairs = both_right([right, right, right, wrong, wrong, wrong])
    assert pairs == [{"number": 1, "both": (n, 1)} for n in (1, 0, 0)]


def test_a_study_without_results_is_a_sentence(tmp_path):
    with pytest.raises(ELLAError, match="run python -m small_world study first"):
        figures([tmp_path], tmp_path / "out")
