"""The timesteps that the demo shows, against those that the UNet of the loaded checkpoint is told."""

import pytest
import torch
from safetensors.torch import load_file
from sampling import ksample, record_context
from step_sigmas import model_sampling_of, step_sigmas

SDXL_UNET = {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 2, 4],
    "transformer_depth": [0, 0, 2, 2, 10, 10],
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10],
    "transformer_depth_middle": 10,
    "context_dim": 2048,
    "num_heads": -1,
    "num_head_channels": 64,
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
}


@pytest.mark.parametrize("scheduler, denoise", [("normal", 1.0), ("karras", 0.5)])
def test_the_steps_are_those_that_the_unet_is_told(host, model_files, model, clip_conds, scheduler, denoise):
    sampling = model_sampling_of(load_file(model_files / "checkpoints/tiny.safetensors"))
    settings = {"steps": 4, "sampler_name": "euler", "scheduler": scheduler, "denoise": denoise, "seed": 1}
    shown = host.core("host.timesteps").timesteps_of(sampling, step_sigmas(sampling, **settings))
    recorded, seen = record_context(model)
    ksample(host, recorded, *clip_conds, scheduler=scheduler, denoise=denoise)
    assert shown == sorted({timestep for timestep, _ in seen}, reverse=True)


def test_a_checkpoint_s_own_schedule_is_read(host, random_models):
    """A model of v-prediction with zero terminal SNR has another schedule than Stable Diffusion 1.5."""
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel
    from comfy.model_sampling import ModelSamplingDiscrete

    config = random_models.UNET | SDXL_UNET
    unet = UNetModel(**config, operations=comfy.ops.disable_weight_init, device=torch.device("meta"))
    weights = {f"model.diffusion_model.{name}": tensor for name, tensor in unet.state_dict().items()}
    marks = {"v_pred": torch.tensor([]), "ztsnr": torch.tensor([])}
    settings = {"steps": 8, "sampler_name": "euler", "scheduler": "karras", "denoise": 1.0}
    found = step_sigmas(model_sampling_of(weights | marks), **settings).tolist()
    assert found == step_sigmas(ModelSamplingDiscrete(zsnr=True), **settings).tolist()
    assert found != step_sigmas(model_sampling_of(weights), **settings).tolist()


def test_what_is_no_checkpoint_has_no_schedule(host):
    assert model_sampling_of({"weight": torch.zeros(3)}) is None
