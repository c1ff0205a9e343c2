"""Names what a file is, for messages: by its tensor names where it is a model, else by its first bytes."""

from .errors import ELLAError, file_name, of_error

# The first pattern found in any tensor name decides, so the more specific ones stand first.
KINDS = (
    ("lora_", "a LoRA"),
    (".hada_w", "a LoRA (LoHa)"),
    (".lokr_w", "a LoRA (LoKr)"),
    ("connector.perceiver_blocks.", "an ELLA connector"),
    ("connector.c_fc.", "an ELLA connector"),
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


def look_alike(path):
    """What a file that is no model is instead, as (what it is, what to do), or None; a guess by its first bytes."""
    with open(path, "rb") as file:
        start = file.read(512)
    if not start:
        return "is empty (0 bytes)", "download it again"
    if start.startswith(b"version https://git-lfs"):
        return (
            "is a Git LFS pointer, not the file itself",
            "download the file with the browser or run 'git lfs pull'",
        )
    if start.lstrip()[:1] == b"<":
        return "is a web page, not the file itself", "use the page's download button instead of saving the page"
    if start.startswith((b"PK\x03\x04", b"\x80\x02")):
        return "is a pickle file, which can run code when it is opened", "get the model as a real .safetensors file"
    return None


def unreadable(path, as_what, wrong, remedy, denied="allow ComfyUI to read it"):
    """The ELLAError of a file that its library refused: what it looks like, else that it can't be read `as_what`.

    `wrong` and `remedy` go with the latter; `denied` is the remedy where the system doesn't let it be read.
    """
    try:
        guess = look_alike(path)
    except OSError as system:
        guess = f"can't be read ({of_error(system)})", denied
    found, remedy = guess or (f"can't be read as {as_what} ({wrong})", remedy)
    return ELLAError(f"{file_name(path)} {found}; {remedy}.")
