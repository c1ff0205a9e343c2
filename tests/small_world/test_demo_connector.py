"""The demo's connector: trained anew by the curriculum, or on from an earlier one and later in it."""

import torch

from ella_core import load_connector
from small_world.base_model import Base
from small_world.demo_connector import CURRICULUM, train_demo_connector
from small_world.scene_data import SceneData

FACTS = {"architecture": "bert", "hidden_size": 16, "dtype": "float32", "max_length": 5, "padding": True}


def data():
    """40 scenes with random latents and text states."""
    generator = torch.Generator().manual_seed(3)
    latents, states = torch.randn(40, 4, 8, 8, generator=generator), torch.randn(40, 5, 16, generator=generator)
    return SceneData(latents, states, torch.zeros(1, 5, 16), FACTS, seed=0, curriculum=CURRICULUM)


def test_a_training_begins_with_another_connector_and_later_in_the_curriculum(tmp_path):
    torch.manual_seed(0)
    base = Base()
    first = train_demo_connector(base, data(), tmp_path / "first", 2)
    again = train_demo_connector(base, data(), tmp_path / "again", 2)
    weights = [load_connector(file).state_dict() for file in (first, again)]
    assert all(torch.equal(a, b) for a, b in zip(*(one.values() for one in weights)))

    some = data()
    more = train_demo_connector(base, some, tmp_path / "more", 1, start=first, seen=16_000)
    before, after = weights[0], load_connector(more).state_dict()
    assert 0 < max((after[name] - before[name]).abs().max().item() for name in before) < 0.01  # one step of the warm-up
    assert some.given * 32 == 16_032
