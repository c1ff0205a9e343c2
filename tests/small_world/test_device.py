"""Where the small world is computed. "meta" stands for a device that is not the CPU: what is left behind fails."""

import pytest
import torch

from ella_core.errors import ELLAError
from small_world import measure
from small_world.autoencoder import TinyAutoencoder
from small_world.base_model import Base
from small_world.cells import BATCH, Cell, NarrowBase, new_cell_connector
from small_world.device import chosen_device, device_of
from small_world.measure import asked
from small_world.study import LENGTH, own_tokens, tokens_of
from training.batch import Batch
from training.draws import draw
from training.loss import Conditioner, losses

META = torch.device("meta")


class Reader:
    """A language model on the CPU."""

    def encode(self, text, max_length):
        return torch.full((1, max_length, 16), float(len(text)))


def test_a_device_that_is_not_there_is_a_sentence():
    assert chosen_device("cpu") == torch.device("cpu") and chosen_device(None).type in ("cpu", "cuda", "mps")
    with pytest.raises(ELLAError, match='--device is "tpu", and this machine has'):
        chosen_device("tpu")


@pytest.fixture(scope="module")
def elsewhere():
    return Base().to(META).eval().requires_grad_(False), TinyAutoencoder(16).to(META)


@pytest.mark.parametrize("kind", ["mlp", "tsc"])
def test_a_connector_is_trained_where_its_base_is(elsewhere, kind):
    connector = new_cell_connector(Cell(kind, None if kind == "mlp" else 1, 1, 0), 16).to(META)
    draws = draw(0, 0, 0, (BATCH, 4, 8, 8), 0.1, 0.0)
    batch = Batch(torch.zeros(BATCH, 4, 8, 8), torch.zeros(BATCH, LENGTH, 16)).to(META)
    loss = losses(
        NarrowBase(elsewhere[0]), Conditioner(connector), batch, draws, torch.zeros(1, LENGTH, 16).to(META), 0.1
    )
    loss.mean().backward()
    assert loss.device == META and all(weight.grad.device == META for weight in connector.parameters())


@pytest.mark.parametrize("own", [True, False])
def test_pictures_are_drawn_where_the_base_is(elsewhere, own):
    base, autoencoder = elsewhere
    connector = new_cell_connector(Cell("tsc", 1, 1, 0), 16).to(META)
    tokens_at = own_tokens(base) if own else tokens_of(connector, Reader())
    pictures = measure._drawn(base.unet, autoencoder, tokens_at, asked(2))
    assert pictures.shape == (2, 3, 64, 64) and pictures.device == device_of(autoencoder) == META
