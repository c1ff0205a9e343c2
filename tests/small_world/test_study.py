"""A cell of the study from training to its lines, with tiny and untrained parts, stopped and gone on with."""

import json

import pytest
import torch

from evaluation.line_file import LineFile
from small_world.autoencoder import TinyAutoencoder
from small_world.base_model import Base
from small_world.cells import PAPER_KINDS, Cell, cells, train_cell
from small_world.claims import Claim
from small_world.judge import shapes_in
from small_world.measure import asked, asked_swapped, asked_typed, judged, summary
from small_world.scene_data import SceneData
from small_world.scenes import Scene, draw
from small_world.study import measure_into, own_tokens

FACTS = {"architecture": "bert", "hidden_size": 16, "dtype": "float32", "layer": -1, "max_length": 5, "padding": True}


def data(seed=0):
    generator = torch.Generator().manual_seed(3)
    latents, states = torch.randn(12, 4, 8, 8, generator=generator), torch.randn(12, 5, 16, generator=generator)
    return SceneData(latents, states, torch.zeros(1, 5, 16), FACTS, seed)


def test_a_position_of_the_data_is_taken_up_again():
    whole, some = data(), data()
    expected = [batch for _, batch in zip(range(7), whole.batches(4, 0, 1))]
    batches = some.batches(4, 0, 1)
    for _ in range(3):
        next(batches)
    later = data()
    later.load_state_dict(json.loads(json.dumps(some.state_dict())))
    for batch, wanted in zip(later.batches(4, 0, 1), expected[3:]):
        assert torch.equal(batch.latents, wanted.latents) and torch.equal(batch.text_states, wanted.text_states)


def test_two_processes_see_together_what_one_sees():
    one = data().batches(4, 0, 1)
    two = [data().batches(2, rank, 2) for rank in (0, 1)]
    for _ in range(5):
        together = torch.cat([next(batches).latents for batches in two])
        assert torch.equal(next(one).latents, together)


def test_the_cells_are_the_papers_table():
    assert len(cells(10, (0, 1, 2))) == 20 and len(cells(10, (0, 1, 2), decoder=True)) == 26
    assert len({cell.name for cell in cells(10, (0, 1, 2), decoder=True)}) == 26
    assert [(cell.kind, cell.depth) for cell in cells(10, (0, 1, 2))[:5]] == list(PAPER_KINDS)


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(0)
    return Base().eval().requires_grad_(False), TinyAutoencoder(16).eval().requires_grad_(False)


@pytest.mark.parametrize(("kind", "depth"), PAPER_KINDS)
def test_a_cell_trains_each_kind(untrained, tmp_path, kind, depth):
    cell = Cell(kind, depth, 3, 0)
    connector = train_cell(cell, untrained[0], data(), tmp_path, batch_size=4)
    again = train_cell(cell, untrained[0], data(), tmp_path, batch_size=4)
    assert all(torch.equal(a, b) for a, b in zip(connector.state_dict().values(), again.state_dict().values()))
    assert connector.facts.text_encoder.hidden_size == 16


def test_what_has_its_line_is_not_measured_again(untrained, tmp_path):
    base, autoencoder = untrained
    file = tmp_path / "results.jsonl"
    name = {"cell": "own text encoder", "seed": 0}
    measure_into(file, name, base, autoencoder, own_tokens(base), 6)
    lines = file.read_text()
    assert len(LineFile(file).read()) == 5
    measure_into(file, name, base, autoencoder, own_tokens(base), 6)
    assert file.read_text() == lines
    file.write_text(lines[:-20])  # as a kill leaves it
    assert len(LineFile(file).read()) == 4
    measure_into(file, name, base, autoencoder, own_tokens(base), 6)
    assert [line["all"] for line in LineFile(file).read()] == [json.loads(line)["all"] for line in lines.splitlines()]


def test_swapped_captions_differ_in_two_colours_alone():
    prompts = asked_swapped(40)
    assert len(prompts) == 40
    for one, other in zip(prompts[::2], prompts[1::2]):
        assert one.number == other.number
        words, others = one.caption.text.lower().split(), other.caption.text.lower().split()
        colours = {shape.colour for shape in one.scene.shapes}
        differing = [{a, b} for a, b in zip(words, others, strict=True) if a != b]
        assert differing and all(pair == colours for pair in differing)
        right = judged(other, shapes_in(draw(other.scene)))
        assert right.bound == (2, 2) and judged(other, shapes_in(draw(one.scene))).bound[0] < 2


def test_typed_captions_are_mostly_of_relations_that_their_scenes_show():
    prompts = asked_typed(60)
    right = summary([judged(one, shapes_in(draw(one.scene))) for one in prompts])["all"]
    assert right["bound"] == right["relations"] == 100
    assert sum("at" != claim.relation is not None for one in prompts for claim in one.caption.claims) > 60


def test_what_is_drawn_right_is_counted_right_and_what_is_missing_is_not():
    prompts = asked(60)
    right = [judged(one, shapes_in(draw(one.scene))) for one in prompts]
    shares = summary(right)["all"]
    assert [shares[name] for name in ("bound", "counts", "places", "relations", "extra")] == [100, 100, 100, 100, 0]
    empty = [judged(one, shapes_in(draw(Scene(())))) for one in prompts]
    assert summary(empty)["all"]["bound"] == 0 and summary(empty)["four_or_more"]["places"] == 0
    others = [judged(one, shapes_in(draw(other.scene))) for one, other in zip(prompts, prompts[1:])]
    assert summary(others)["all"]["bound"] < 25
    assert all(isinstance(claim, Claim) for one in prompts for claim in one.caption.claims)
