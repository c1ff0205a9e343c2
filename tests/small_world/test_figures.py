"""The table and the plots of a study from its lines, with pictures that were drawn right, wrong or not at all."""

import json
from dataclasses import asdict

import pytest
from PIL import Image

from ella_core.errors import ELLAError
from small_world.figures import both_right, figures, share
from small_world.judge import shapes_in
from small_world.measure import asked, judged, summary
from small_world.scenes import Scene, draw


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
        line({"cell": "tsc-6", **tsc}, lambda scene: scene),
        line({"cell": "tsc-6", **tsc, "told": "timestep 500"}, lambda scene: Scene(scene.groups[:1])),
        line({"cell": "tsc-6-1", **tsc, "seed": 1}, lambda scene: scene),
        line({"cell": "tsc-6-5", **tsc, "steps": 5}, lambda scene: Scene(scene.groups[:1])),
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    text = figures([tmp_path], tmp_path / "out")
    rows = {row.split("|")[1].strip(): row.split("|")[2:] for row in text.splitlines()[2:]}
    trained = ["TSC x6", "TSC x6, told timestep 500", "TSC x6, 5 steps"]
    assert list(rows) == ["the base's own text encoder", "the demo's TSC x6", *trained]
    assert [cell.split()[0] for cell in rows["TSC x6"][:5]] == ["100.0"] * 5
    assert rows["the base's own text encoder"][0].split() == ["0.0", "(0.0..0.0)"]
    assert 20 < float(rows["TSC x6, told timestep 500"][0].split()[0]) < 80
    for name in ("by_objects.png", "by_words.png"):
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


def test_an_interval_holds_the_share_and_narrows_with_more_pictures():
    pictures = [{"bound": (number % 3, 3)} for number in range(30)]
    few, many = share(pictures, "bound"), share(pictures * 10, "bound")
    assert few[0] == many[0] == pytest.approx(100 / 3)
    assert few[1] < many[1] < many[0] < many[2] < few[2]
    assert share([{"bound": (0, 0)}] * 5, "bound") is None


def test_a_swapped_pair_is_right_where_both_pictures_are():
    right, wrong = {"bound": [2, 2]}, {"bound": [1, 2]}
    assert both_right([right, right, right, wrong, wrong, wrong]) == [{"both": (n, 1)} for n in (1, 0, 0)]


def test_a_study_without_results_is_a_sentence(tmp_path):
    with pytest.raises(ELLAError, match="run python -m small_world study first"):
        figures([tmp_path], tmp_path / "out")
