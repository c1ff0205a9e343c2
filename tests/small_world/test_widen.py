"""Wide weights compute what the narrow ones compute, through the host's own loader."""

import pytest
import torch

from ella_core import new_connector
from small_world.autoencoder import TinyAutoencoder
from small_world.base_model import Base
from small_world.text_encoder import rows_of
from small_world.widen import LATENT_SCALE, save_checkpoint, widened_connector
from training.host_base import host_module

PROMPT = "a red circle upper left, two small blue squares"


def shaken(module):
    """The same with every weight away from its first value, so that zero-initialised layers count too."""
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return module.eval()


def relative(found, expected):
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """(base, autoencoder, what the host loads of their checkpoint: model, CLIP, VAE)."""
    torch.manual_seed(0)
    base, autoencoder = shaken(Base()), shaken(TinyAutoencoder(16))
    with torch.no_grad():
        base.text_encoder.model.get_input_embeddings().weight[-1] = 0
    path = tmp_path_factory.mktemp("wide") / "small_world.safetensors"
    save_checkpoint(path, base, autoencoder)
    model, clip, vae, _ = host_module("comfy.sd").load_checkpoint_guess_config(str(path))
    return base, autoencoder, model, clip, vae


@torch.inference_mode()
def test_the_host_computes_the_narrow_unets_noise(loaded):
    base, _, model, _, _ = loaded
    noisy, context = torch.randn(2, 4, 8, 8), torch.randn(2, 77, 96)
    timesteps = torch.tensor([3, 871])
    expected = base.unet(noisy, timesteps, context)
    unet = model.model.diffusion_model.float()
    found = unet(noisy, timesteps, context.repeat_interleave(8, -1))
    assert relative(found, expected) < 2e-5  # float32 over 320 channels instead of 64


@torch.inference_mode()
def test_the_host_reads_as_the_weak_text_encoder(loaded):
    base, _, _, clip, _ = loaded
    expected = base.text_encoder(rows_of([PROMPT]))
    found = clip.encode_from_tokens(clip.tokenize(PROMPT))
    assert relative(found.float()[..., ::8], expected) < 2e-3  # the host keeps CLIP in float16


@torch.inference_mode()
def test_the_host_decodes_as_the_narrow_autoencoder(loaded):
    _, autoencoder, _, _, vae = loaded
    latents = torch.randn(1, 4, 8, 8)
    expected = autoencoder.decode(latents).clamp(0, 1)
    found = vae.decode(latents / LATENT_SCALE).movedim(-1, 1)
    assert relative(found.float(), expected) < 2e-2  # the host may decode in bfloat16
    back = vae.encode(expected.movedim(1, -1)) * LATENT_SCALE
    assert relative(back.float(), autoencoder.encode(expected)) < 2e-2


@pytest.mark.parametrize("kind", ["mlp", "resampler", "adaln-zero", "tsc"])
@torch.inference_mode()
def test_a_wide_connector_gives_the_narrow_ones_tokens_eight_times(kind):
    torch.manual_seed(1)
    sizes = {"width": 96, "text_dim": 384} | ({} if kind == "mlp" else {"depth": 2})
    sizes |= {"time_dim": 96} if kind in ("adaln-zero", "tsc") else {}
    narrow = shaken(new_connector(kind, **sizes))
    wide = widened_connector(narrow, 768)
    states, timesteps = torch.randn(2, 19, 384), torch.tensor([11, 930])
    expected = narrow(states, timesteps).repeat_interleave(8, -1)
    assert relative(wide(states, timesteps), expected) < 2e-5
