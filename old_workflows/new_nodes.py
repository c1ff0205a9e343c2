"""The node types of this pack and of ComfyUI that old graphs are rewired to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class NodeKind:
    """A node type that the converter writes: (name, wire type) of its inputs, widgets and outputs."""

    name: str
    pack: str
    inputs: tuple[tuple[str, str], ...]
    widgets: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    defaults: tuple = ()
    optional: tuple[str, ...] = ()
    size: tuple[int, int] = (240, 150)


# The name of the template to start from, in ComfyUI's template browser.
TEMPLATE = "ELLA text to image"
# The type that T5_TEXT_ENCODE had first; another pack has a node of this type with other inputs.
EARLIER_T5_TEXT_ENCODE = "T5TextEncode"

LOAD_ELLA = NodeKind(
    "LoadELLA", "ella", (), (("ella_name", "COMBO"),), (("ELLA", "ELLA"),), defaults=("",), size=(340, 80)
)
LOAD_ENCODER = NodeKind(
    "LoadELLATextEncoder",
    "ella",
    (),
    (("text_encoder_name", "COMBO"), ("prompt_cache", "BOOLEAN"), ("precision", "COMBO"), ("device", "COMBO")),
    (("CLIP", "CLIP"),),
    defaults=("", False, "auto", "default"),
    optional=("prompt_cache", "precision", "device"),
    size=(340, 106),
)
T5_TEXT_ENCODE = NodeKind(
    "ELLAT5TextEncode",
    "ella",
    (("clip", "CLIP"),),
    (("text", "STRING"), ("max_length", "INT")),
    (("CONDITIONING", "CONDITIONING"),),
    defaults=("", 0),
    size=(400, 160),
)
CLIP_TEXT_ENCODE = NodeKind(
    "CLIPTextEncode",
    "comfy-core",
    (("clip", "CLIP"),),
    (("text", "STRING"),),
    (("CONDITIONING", "CONDITIONING"),),
    defaults=("",),
    size=(400, 110),
)
APPLY = NodeKind(
    "ELLAApplyConditioning",
    "ella",
    (
        ("model", "MODEL"),
        ("ella", "ELLA"),
        ("positive", "CONDITIONING"),
        ("negative", "CONDITIONING"),
        ("clip_positive", "CONDITIONING"),
        ("clip_negative", "CONDITIONING"),
    ),
    (),
    (("MODEL", "MODEL"), ("positive", "CONDITIONING"), ("negative", "CONDITIONING")),
    optional=("negative", "clip_positive", "clip_negative"),
)
