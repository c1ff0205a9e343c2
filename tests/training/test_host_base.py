"""The base of a real checkpoint, loaded by the host: against the host's own model prediction, with random weights."""

import os

import pytest
import torch

from ella_core.connectors.kinds import new_connector
from training.batch import Batch
from training.draws import draw
from training.errors import TrainingError
from training.host_base import HostBase, fingerprint, host_module
from training.loss import Conditioner, losses

if "COMFYUI" not in os.environ:
    pytest.skip("needs COMFYUI; `bash scripts/test.sh training` brings one", allow_module_level=True)
host_module("comfy.sd")

import random_models  # noqa: E402

PREFIX = "model.diffusion_model."
# The same float32 operations through another order of scaling (4e-7 measured).
TOLERANCE = 1e-5


def make_unet(path, seed=1, v=False, **config):
    weights = random_models.unet_weights(seed, torch.float32, PREFIX, **config)
    if v:
        weights["v_pred"] = torch.zeros(1)
    random_models.save(weights, str(path))
    return path


@pytest.fixture(scope="module")
def sd15(tmp_path_factory):
    return make_unet(tmp_path_factory.mktemp("models") / "sd15.safetensors", **random_models.QUICK_UNET)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return make_unet(tmp_path_factory.mktemp("models") / "sdxl.safetensors", **random_models.SDXL_UNET)


def relative(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


def denoised(base, noisy, timesteps, found):
    """What the host's apply_model calls the picture: of our prediction, by the formulas of the papers."""
    a = base.alphas_cumprod[timesteps].float()[:, None, None, None]
    if base.prediction == "eps":
        return (noisy - (1 - a).sqrt() * found) / a.sqrt()
    return a.sqrt() * noisy - (1 - a).sqrt() * found


def host_s_picture(base, noisy, timesteps, **conds):
    """The same by the host's own model, which takes latents in sigma's scale."""
    sigmas = base.model.model_sampling.sigmas[timesteps]
    x = noisy / base.alphas_cumprod[timesteps].float().sqrt()[:, None, None, None]
    with torch.no_grad():
        return base.model.apply_model(x, sigmas, **conds)


def some_inputs(width, batch=3):
    generator = torch.Generator().manual_seed(4)
    noisy = torch.randn(batch, 4, 8, 8, generator=generator)
    return noisy, torch.tensor([0, 431, 999][:batch]), torch.randn(batch, 5, width, generator=generator)


def test_the_prediction_is_the_host_s(sd15):
    base = HostBase(sd15)
    assert (base.name, base.prediction, base.context_width, base.pooled_dim) == ("sd15", "eps", 768, 0)
    noisy, timesteps, context = some_inputs(768)
    with torch.no_grad():
        found = base.predict(noisy, timesteps, context)
    expected = host_s_picture(base, noisy, timesteps, c_crossattn=context)
    assert relative(denoised(base, noisy, timesteps, found), expected) < TOLERANCE


def test_sdxl_is_told_sizes_and_pooled_vector_as_the_host_tells_them(sdxl):
    base = HostBase(sdxl)
    assert (base.name, base.prediction, base.context_width, base.pooled_dim) == ("sdxl", "eps", 2048, 1280)
    noisy, timesteps, context = some_inputs(2048, 2)
    pooled = torch.randn(2, 1280, generator=torch.Generator().manual_seed(5))
    sizes = torch.tensor([[512.0, 640, 3, 5, 1024, 768], [1024, 1024, 0, 0, 1024, 1024]])
    names = ("height", "width", "crop_h", "crop_w", "target_height", "target_width")
    of_host = [
        base.model.encode_adm(pooled_output=one[None], **dict(zip(names, map(int, size))))
        for one, size in zip(pooled, sizes)
    ]
    with torch.no_grad():
        found = base.predict(noisy, timesteps, context, pooled, sizes)
    expected = host_s_picture(base, noisy, timesteps, c_crossattn=context, y=torch.cat(of_host))
    assert relative(denoised(base, noisy, timesteps, found), expected) < TOLERANCE


def test_v_is_read_from_the_checkpoint(tmp_path, sdxl):
    weights = random_models.unet_weights(1, torch.float32, PREFIX, **random_models.SDXL_UNET)
    random_models.save(weights | {"v_pred": torch.zeros(1)}, str(tmp_path / "v.safetensors"))
    base = HostBase(tmp_path / "v.safetensors")
    assert base.prediction == "v"
    noisy, timesteps, context = some_inputs(2048, 2)
    pooled, sizes = torch.zeros(2, 1280), torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
    y = base.model.encode_adm(pooled_output=pooled, height=64, width=64)
    with torch.no_grad():
        found = base.predict(noisy, timesteps, context, pooled, sizes)
    expected = host_s_picture(base, noisy, timesteps, c_crossattn=context, y=y)
    assert relative(denoised(base, noisy, timesteps, found), expected) < TOLERANCE
    with torch.no_grad():
        assert torch.equal(base.predict(noisy, timesteps, context), found)  # zeros and a whole picture are the defaults


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_reach_the_connector_only(sd15, checkpointing):
    base = HostBase(sd15, gradient_checkpointing=checkpointing)
    before = {name: weight.clone() for name, weight in base.module.state_dict().items()}
    torch.manual_seed(1)
    connector = new_connector("tsc", depth=1, num_queries=4, text_dim=12)
    batch = Batch(torch.randn(2, 4, 8, 8), torch.randn(2, 6, 12))
    draws = draw(1, 0, 0, batch.latents.shape)
    losses(base, Conditioner(connector), batch, draws, torch.zeros(1, 6, 12)).mean().backward()
    optimizer = torch.optim.AdamW(connector.parameters())
    gradients = {name: weight.grad.clone() for name, weight in connector.named_parameters()}
    optimizer.step()
    assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients.values())
    assert all(weight.grad is None for weight in base.model.parameters())
    assert all(torch.equal(weight, before[name]) for name, weight in base.module.state_dict().items())
    test_gradients_reach_the_connector_only.norms[checkpointing] = gradients
    if checkpointing:
        kept = test_gradients_reach_the_connector_only.norms[False]
        assert all(torch.equal(gradients[name], kept[name]) for name in kept)


test_gradients_reach_the_connector_only.norms = {}


def test_sdxl_s_gradient_reaches_the_pool_as_well(sdxl):
    base = HostBase(sdxl, gradient_checkpointing=True)
    sizes = {"width": 2048, "depth": 1, "num_queries": 2, "text_dim": 12, "time_dim": 16, "pooled_dim": base.pooled_dim}
    connector = new_connector("tsc", **sizes)
    sizes = torch.tensor([[512.0, 640, 3, 5, 64, 64]] * 2)
    batch = Batch(torch.randn(2, 4, 8, 8), torch.randn(2, 6, 12), sizes)
    draws = draw(1, 0, 0, batch.latents.shape)
    losses(base, Conditioner(connector), batch, draws, torch.zeros(1, 6, 12)).mean().backward()
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in connector.pool.parameters())
    assert all(weight.grad is None for weight in base.model.parameters())


@pytest.mark.parametrize(
    "config",
    [{"in_channels": 9}, {"in_channels": 9, "num_classes": "sequential", "adm_in_channels": 768}],
    ids=["inpainting", "adm"],
)
def test_other_models_are_refused(tmp_path, config):
    path = make_unet(tmp_path / "other.safetensors", **random_models.QUICK_UNET | config)
    with pytest.raises(TrainingError, match="checkpoint of Stable Diffusion 1.5 or SDXL is expected"):
        HostBase(path)


def test_a_file_without_a_unet_is_refused(tmp_path):
    random_models.save({"some.weight": torch.zeros(3, 3)}, str(tmp_path / "lora.safetensors"))
    with pytest.raises(TrainingError, match="holds no diffusion model that ComfyUI knows"):
        HostBase(tmp_path / "lora.safetensors")


def test_a_fingerprint_tells_a_fine_tune(tmp_path, sd15):
    other = make_unet(tmp_path / "other.safetensors", seed=2, **random_models.QUICK_UNET)
    assert fingerprint(sd15) != fingerprint(other) and fingerprint(sd15) == fingerprint(sd15)
