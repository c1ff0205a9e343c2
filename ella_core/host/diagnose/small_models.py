"""A UNet and a connector small enough to be sampled in a moment, of random weights, as this ComfyUI builds its own."""

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from torch import nn

from ...connectors.tsc import ConnectorConfig, TimestepAwareSemanticConnector

WIDTH, TEXT_DIM, QUERIES = 16, 24, 4
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 32,  # the least that the host's norms of 32 groups can divide
    "num_res_blocks": [1],
    "channel_mult": [1],
    "transformer_depth": [1],
    "transformer_depth_output": [1, 1],
    "transformer_depth_middle": 1,
    "context_dim": WIDTH,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": False,
    "adm_in_channels": None,
    "use_temporal_attention": False,
    "legacy": False,
}


class Layers:
    """torch's own layers where the UNet asks for the host's, whose weights may only exist once a file was read."""

    Linear, Conv2d, GroupNorm, LayerNorm = nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm

    @staticmethod
    def conv_nd(dims, *args, **kwargs):
        return nn.Conv2d(*args, **kwargs)


def small_unet():
    """ModelPatcher of a UNet as Stable Diffusion 1.5's, but for its size."""
    config = comfy.supported_models.SD15(UNET)
    config.set_inference_dtype(torch.float32, None)
    config.custom_operations = Layers
    with torch.random.fork_rng(devices=[]):  # the artist's next random number stays what it would have been
        model = config.get_model({}, device=torch.device("cpu"))
    fill(model.diffusion_model)
    return patcher_of(model)


def small_connector():
    """ModelPatcher of a connector for `small_unet`."""
    sizes = {"depth": 1, "num_heads": 2, "num_queries": QUERIES, "time_channels": 32, "time_dim": 32}
    with torch.random.fork_rng(devices=[]):
        connector = TimestepAwareSemanticConnector(ConnectorConfig(WIDTH, text_dim=TEXT_DIM, **sizes))
    fill(connector)
    patcher = patcher_of(connector.eval())
    patcher.set_attachments("ella_name", "the self-test's connector")
    return patcher


def patcher_of(model):
    return comfy.model_patcher.ModelPatcher(
        model,
        load_device=comfy.model_management.get_torch_device(),
        offload_device=comfy.model_management.unet_offload_device(),
    )


def fill(module, seed=1):
    """Gives a module random weights that let every input count: unit gain for matrices, ones and zeros for the rest."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim > 1:
                value = torch.randn(weight.shape, generator=generator) * (weight.numel() / len(weight)) ** -0.5
            else:
                value = torch.full(weight.shape, float(name.endswith("weight")))
            weight.copy_(value)
    module.requires_grad_(False)
