"""Makes small models of random weights with the real architectures, for the demo and the tests.

    python scripts/random_models.py COMFYUI FOLDER

writes into FOLDER what workflows/ELLA text to image.json asks for, in the host's folder names. Their pictures show that
the machinery works, not what ELLA draws.
"""

import os
import sys

import torch
from in_process_host import import_host
from safetensors.torch import save_file

UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "num_res_blocks": [1, 1],
    "channel_mult": [1, 2],
    "transformer_depth": [1, 1],
    "transformer_depth_output": [1, 1, 1, 1],
    "transformer_depth_middle": 1,
    "context_dim": 768,
    "num_heads": 8,
    "num_head_channels": -1,
    "use_spatial_transformer": True,
    "legacy": False,
}
# For the demo: narrower, and without attention over 64 x 64 places, which alone would take minutes on a small CPU.
QUICK_UNET = {"channel_mult": [1, 1], "transformer_depth": [0, 1], "transformer_depth_output": [0, 0, 1, 1]}
# Segmind-Vega, the smallest that the host knows as SDXL, all of its levels as wide as the first.
SDXL_UNET = {
    "num_res_blocks": [2, 2, 2],
    "channel_mult": [1, 1, 1],
    "transformer_depth": [0, 0, 1, 1, 2, 2],
    "transformer_depth_output": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "transformer_depth_middle": -1,
    "context_dim": 2048,
    "num_heads": -1,
    "num_head_channels": 64,
    "use_linear_in_transformer": True,
    "num_classes": "sequential",
    "adm_in_channels": 2816,
}
# A ControlNet has a middle block always.
SDXL_CONTROLNET = {key: value for key, value in SDXL_UNET.items() if key != "transformer_depth_output"} | {
    "transformer_depth_middle": 2
}
VAE = {
    "double_z": True,
    "z_channels": 4,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def random_weights(module, seed, prefix="", dtype=torch.float16):
    """State dict of a module built on the meta device: unit gain for matrices, ones and small biases for the rest."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, tensor in module.state_dict().items():
        if tensor.ndim > 1:
            fan_in = tensor.numel() // tensor.shape[0]
            value = torch.randn(tensor.shape, generator=generator) * fan_in**-0.5
        else:
            value = torch.randn(tensor.shape, generator=generator) * 0.02 + (1.0 if name.endswith("weight") else 0.0)
        weights[prefix + name] = value.to(dtype)
    return weights


def save(weights, path, metadata=None):
    """Writes beside the file and renames, so that an interrupted call leaves no half a model."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file(weights, path + ".part", metadata=metadata)
    os.replace(path + ".part", path)


def make_unet(path, seed=1, dtype=torch.float16, prefix="", **config):
    """A diffusion UNet shaped like Stable Diffusion 1.5's with two levels of one block; needs ComfyUI on sys.path."""
    save(unet_weights(seed, dtype, prefix, **config), path)


def unet_weights(seed=1, dtype=torch.float16, prefix="", **config):
    import comfy.ops
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    unet = UNetModel(**(UNET | config), operations=comfy.ops.disable_weight_init, device=torch.device("meta"))
    return random_weights(unet, seed, prefix, dtype)


def make_controlnet(path, seed=6, dtype=torch.float16, **sizes):
    """A ControlNet for that UNet or one of other `sizes`; needs ComfyUI on sys.path."""
    import comfy.ops
    from comfy.cldm.cldm import ControlNet

    config = {key: value for key, value in UNET.items() if key not in ("out_channels", "transformer_depth_output")}
    config |= sizes
    network = ControlNet(
        **config, hint_channels=3, operations=comfy.ops.disable_weight_init, device=torch.device("meta")
    )
    save(random_weights(network, seed, dtype=dtype), path)


def make_checkpoint(path, seed=1, dtype=torch.float16, **config):
    """A whole checkpoint: that UNet, Stable Diffusion's VAE and CLIP-L; needs ComfyUI on sys.path."""
    from comfy.ldm.models.autoencoder import AutoencoderKL
    from transformers import CLIPTextConfig, CLIPTextModel

    clip_config = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    with torch.device("meta"):
        vae = AutoencoderKL(ddconfig=VAE, embed_dim=4)
        clip = CLIPTextModel(clip_config)
    clip_prefix = "cond_stage_model.transformer."
    if not next(iter(clip.state_dict())).startswith("text_model."):
        clip_prefix += "text_model."
    save(
        unet_weights(seed, dtype, "model.diffusion_model.", **config)
        | random_weights(vae, seed + 1, "first_stage_model.", dtype)
        | random_weights(clip, seed + 2, clip_prefix, dtype),
        path,
    )


def make_sdxl_checkpoint(path, seed=1, dtype=torch.float16):
    """A checkpoint shaped like the smallest SDXL, without text encoders, of which one alone has 32 layers."""
    from comfy.ldm.models.autoencoder import AutoencoderKL

    with torch.device("meta"):
        vae = AutoencoderKL(ddconfig=VAE, embed_dim=4)
    save(
        unet_weights(seed, dtype, "model.diffusion_model.", **SDXL_UNET)
        | random_weights(vae, seed + 1, "first_stage_model.", dtype),
        path,
    )


def make_connector(path, connector_module, seed=4, dtype=torch.float16, **sizes):
    """A connector; `connector_module` is ella_core.connectors.tsc, `sizes` fields of its ConnectorConfig."""
    config = connector_module.ConnectorConfig(**sizes)
    connector = connector_module.TimestepAwareSemanticConnector(config, device="meta")
    save(random_weights(connector, seed, dtype=dtype), path, {"num_heads": str(config.num_heads)})


def text_encoder_config(num_layers):
    """T5Config as wide as FLAN-T5-XL, which has 24 layers."""
    from transformers import T5Config

    return T5Config(
        d_model=2048,
        d_ff=5120,
        d_kv=64,
        num_heads=32,
        num_layers=num_layers,
        vocab_size=32128,
        feed_forward_proj="gated-gelu",
    )


def make_text_encoder(path, num_layers=2, seed=5):
    """A T5 encoder as wide as FLAN-T5-XL, in one file."""
    from transformers import T5EncoderModel

    with torch.device("meta"):
        encoder = T5EncoderModel(text_encoder_config(num_layers))
    weights = random_weights(encoder, seed)
    del weights["encoder.embed_tokens.weight"]  # the same tensor as shared.weight
    save(weights, path)


def main(comfyui, folder):
    core = import_host(comfyui)
    models = {
        "checkpoints/v1-5-pruned-emaonly-fp16.safetensors": lambda path: make_checkpoint(path, **QUICK_UNET),
        "ella/ella-sd1.5-tsc-t5xl.safetensors": lambda path: make_connector(path, core.connectors.tsc),
        "text_encoders/models--google--flan-t5-xl--text_encoder_model.safetensors": make_text_encoder,
    }
    for name, make in models.items():
        path = os.path.join(folder, name)
        if not os.path.isfile(path):
            print(f"making {name} of random weights", file=sys.stderr)
            make(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
