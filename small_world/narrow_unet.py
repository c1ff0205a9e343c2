"""The base's UNet: Stable Diffusion 1.5's blocks with a fifth of its channels, two levels instead of four."""

import torch
from torch import nn

from training.host_base import host_module

CHANNELS = 64
CONTEXT = 96  # channels of a token; twelve heads of 8 in the text encoder
CONTEXT_FACTOR = 8  # times 96 are its 768 of a token
SINUSOID = 320  # channels of the timestep's sinusoid, which widening leaves as they are
LEVELS = (1, 2)
_KINDS = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)


def unet_of_channels(channels: int, context: int) -> nn.Module:
    """The host's UNet for latents (B, 4, 8, 8), timesteps (B,) and context (B, N, `context`), without values."""
    levels = len(LEVELS)
    return host_module("comfy.ldm.modules.diffusionmodules.openaimodel").UNetModel(
        image_size=32,
        in_channels=4,
        out_channels=4,
        model_channels=channels,
        num_res_blocks=[1] * levels,
        channel_mult=LEVELS,
        num_heads=8,
        use_spatial_transformer=True,
        transformer_depth=[1] * levels,
        transformer_depth_output=[1] * (2 * levels),
        transformer_depth_middle=1,
        context_dim=context,
        legacy=False,
        dtype=torch.float32,
    )


def narrow_unet() -> nn.Module:
    """A new UNet of 64 channels, with the usual initialisation."""
    unet = unet_of_channels(CHANNELS, CONTEXT)
    # The whole sinusoid of Stable Diffusion 1.5 enters, so that the widened net computes the same one.
    unet.time_embed[0] = nn.Linear(SINUSOID, 4 * CHANNELS)
    unet.model_channels = SINUSOID
    for module in unet.modules():
        # The host's layers skip their initialisation, since it loads weights right afterwards.
        for kind in _KINDS:
            if isinstance(module, kind):
                kind.reset_parameters(module)
    for name, module in unet.named_modules():
        if name.endswith(("proj_out", "out_layers.3")) or name == "out.2":
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet
