"""Grids drawn in the middle of a training, by the host and the nodes' own code; the checkpoint has random weights."""

import os

import pytest
import torch
from small_parts import FACTS, TEXT_DIM
from small_runs import same, weights

from ella_core.connectors.kinds import new_connector
from training.batch import Batch
from training.host_base import HostBase, host_module
from training.host_samples import Grid
from training.loop import train
from training.options import Options

if "COMFYUI" not in os.environ:
    pytest.skip("needs COMFYUI; `bash scripts/test.sh training` brings one", allow_module_level=True)
host_module("comfy.sd")

import random_models  # noqa: E402
from PIL import Image  # noqa: E402


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("models") / "tiny.safetensors")
    from comfy.ldm.models.autoencoder import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(ddconfig=random_models.VAE, embed_dim=4)
    random_models.save(
        random_models.unet_weights(1, torch.float32, "model.diffusion_model.", **random_models.QUICK_UNET)
        | random_models.random_weights(vae, 2, "first_stage_model.", torch.float32),
        path,
    )
    return HostBase(path, with_vae=True)


class Pictures:
    facts, empty_states = FACTS, torch.zeros(1, 6, TEXT_DIM)

    def batches(self, batch_size, rank, world_size):
        generator = torch.Generator().manual_seed(1)
        while True:
            latents = torch.randn(batch_size, 4, 8, 8, generator=generator)
            yield Batch(latents, torch.randn(batch_size, 6, TEXT_DIM, generator=generator))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        raise AssertionError("nothing goes on here")


def connector(seed):
    torch.manual_seed(seed)
    return new_connector("tsc", depth=1, num_queries=4, text_dim=TEXT_DIM, time_channels=8, time_dim=16)


def test_grids_are_drawn_and_change_nothing_of_the_training(tmp_path, base):
    before = {name: weight.clone() for name, weight in base.module.state_dict().items()}
    states = torch.randn(3, 1, 6, TEXT_DIM, generator=torch.Generator().manual_seed(2))
    grid = Grid(base, list(states), Pictures.empty_states, FACTS, size=64, steps=2)
    options = Options(
        steps=2,
        batch_size=2,
        micro_batch_size=0,
        learning_rate=0.01,
        warmup_steps=0,
        ema_decay=0.0,
        sample_every=1,
        tensorboard=False,
    )
    runs = [
        train(options, base, connector(1), Pictures(), tmp_path / name, sample=sample, progress=False)
        for name, sample in (("drawn", grid), ("not", None))
    ]
    assert same(*map(weights, runs))
    assert all(torch.equal(weight, before[name]) for name, weight in base.module.state_dict().items())
    files = sorted((tmp_path / "drawn/samples").iterdir())
    assert [file.name for file in files] == ["step-000000001.png", "step-000000002.png"]
    first, second = (Image.open(file).convert("RGB") for file in files)
    assert first.size == (3 * 64, 64) and first.tobytes() != second.tobytes()
    pictures = [first.crop((64 * one, 0, 64 * one + 64, 64)).tobytes() for one in range(3)]
    assert len(set(pictures)) == 3
    again = train(options, base, connector(1), Pictures(), tmp_path / "again", sample=grid, progress=False)
    assert Image.open(again.path / "samples/step-000000002.png").convert("RGB").tobytes() == second.tobytes()
