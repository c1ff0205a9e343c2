"""Earlier nodes that one node of this pack replaces, for the host's "Replace" button.

They are those of TencentQQGYLab/ComfyUI-ELLA, and this pack's own T5TextEncode, whose id belongs to
city96/ComfyUI_ExtraModels as well.

A replacement stands alone, so only what keeps its meaning whatever it is wired to is here. SetEllaTimesteps,
EllaEncode, EllaTextEncode and the nodes that combine embeds need the MODEL or their neighbours, LoadElla of
ExponentialML/ComfyUI_ELLA is two nodes here, and its ELLATextEncode needs the MODEL: scripts/convert_workflow.py
rewires those, and keeps what a replacement can't: the loader's max_length and what was wired to T5TextEncode's embeds.
Only inputs that the old node required are named, since the host fails on one that is absent.
"""

from dataclasses import dataclass, field

from .schema import ComfyAPI, io


@dataclass(frozen=True)
class Replacement:
    """One old node id; `inputs` are {ours: theirs}, `set_values` {ours: value}, `widgets` as their values are saved.

    Without `inputs` and `outputs` the editor takes over those of the same name.
    """

    old: str
    new: str
    inputs: dict[str, str] | None
    widgets: list[str] = field(default_factory=list)
    set_values: dict[str, int] = field(default_factory=dict)
    outputs: list[int] | None = field(default_factory=lambda: [0])


REPLACEMENTS = [
    Replacement("ELLALoader", "LoadELLA", {"ella_name": "name"}, widgets=["name"]),
    Replacement(
        "T5TextEncoderLoader #ELLA",
        "LoadELLATextEncoder",
        {"text_encoder_name": "name"},
        widgets=["name", "max_length", "dtype"],
    ),
    Replacement(
        "T5TextEncode #ELLA",
        "ELLAT5TextEncode",
        {"clip": "text_encoder", "text": "text"},
        widgets=["text"],
        set_values={"max_length": 0},
    ),
    Replacement(
        "EllaApply",
        "ELLAApplyConditioning",
        {"model": "model", "ella": "ella", "positive": "positive", "negative": "negative"},
        outputs=[0, 1, 2],
    ),
    # By name alone: a prompt with the other pack's node, which has no clip, must not fail in the host's own replacing.
    Replacement("T5TextEncode", "ELLAT5TextEncode", None, widgets=["text", "max_length"], outputs=None),
]


async def register_replacements():
    """Tells the host, where it has node replacements (ComfyUI 0.14 and newer)."""
    api = ComfyAPI()
    if not hasattr(api, "node_replacement"):
        return
    for entry in REPLACEMENTS:
        await api.node_replacement.register(
            io.NodeReplace(entry.new, entry.old, entry.widgets, input_mapping(entry), output_mapping(entry))
        )


def input_mapping(entry):
    if entry.inputs is None:
        return None
    inputs = [{"new_id": new, "old_id": old} for new, old in entry.inputs.items()]
    return inputs + [{"new_id": new, "set_value": value} for new, value in entry.set_values.items()]


def output_mapping(entry):
    """The outputs of the same places, which the editor must be told of as soon as it is told of inputs.

    "0" is as good an index to the editor as 0. The host's own replacing, of saved prompts, compares with numbers and so
    leaves outputs alone, which keep their places: following a wire, it would look for its end by the old name after it
    renamed that input.
    """
    return entry.outputs and [{"new_idx": slot, "old_idx": str(slot)} for slot in entry.outputs]
