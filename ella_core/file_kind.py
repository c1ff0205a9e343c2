"""Names what a model file is by its tensor names, for messages about a file in the wrong place."""

# The first pattern found in any tensor name decides, so the more specific ones stand first.
KINDS = (
    ("lora_", "a LoRA"),
    (".hada_w", "a LoRA (LoHa)"),
    (".lokr_w", "a LoRA (LoKr)"),
    ("connector.perceiver_blocks.", "an ELLA connector"),
    ("image_proj.", "an IP-Adapter"),
    ("control_model.", "a ControlNet"),
    ("controlnet_cond_embedding.", "a ControlNet"),
    ("model.diffusion_model.", "a full checkpoint (Stable Diffusion or alike)"),
    ("double_blocks.", "a Flux diffusion model"),
    ("down_blocks.", "a diffusion model or VAE in diffusers format"),
    ("input_blocks.", "a diffusion UNet"),
    ("decoder.mid.block_1.", "a VAE"),
    ("text_model.encoder.", "a CLIP text encoder"),
    ("resblocks.", "a CLIP text encoder (OpenCLIP)"),
    ("SelfAttention.q.", "a T5 text encoder"),
    ("self_attn.q_proj.", "a language model that is not T5"),
    ("string_to_param", "a textual embedding"),
    ("emb_params", "a textual embedding"),
)


def kind_of(names):
    """What the file with these tensor names is, as "a LoRA", or None where nothing is recognised."""
    for pattern, kind in KINDS:
        if any(pattern in name for name in names):
            return kind
    return None
