"""What runs through the old packs' own wires: which connector, which prompt, which tokens of CLIP."""

from __future__ import annotations

from dataclasses import dataclass

from .errors import WorkflowError
from .new_nodes import LOAD_ELLA, LOAD_ENCODER, T5_TEXT_ENCODE
from .old_nodes import (
    APPLIES,
    CLIP_AND_EMBEDS,
    CLIP_TO_EMBEDS,
    COMBINE_EMBEDS,
    CONNECTOR_LOADER,
    ENCODE,
    ENCODER_LOADER,
    PAIR_LOADER,
    SCHEDULE,
    SIGMA_ENCODE,
    T5_ENCODE,
    TEXT_ENCODE,
)
from .wires import Output

ACTIVE, NEVER = 0, 2
EMBEDS, CLIP = "embeds", "clip"
# What the nodes that give embeds read, the input that wins over the others last.
EMBEDS_INPUTS = {
    T5_TEXT_ENCODE.name: (),
    T5_ENCODE: (("embeds", EMBEDS),),
    CLIP_TO_EMBEDS: (("cond", CLIP),),
    COMBINE_EMBEDS: (("embeds", EMBEDS), ("embeds_add", EMBEDS)),
    **dict.fromkeys(CLIP_AND_EMBEDS, (("cond", CLIP), ("embeds", EMBEDS))),
}


@dataclass(frozen=True)
class Connector:
    """The loader behind an ELLA wire, and the SetEllaTimesteps between that told the schedule, None without one."""

    output: Output
    schedule: int | str | None


@dataclass(frozen=True)
class Embeds:
    """What an ELLA_EMBEDS wire holds: the node that reads the prompt, CLIP's conditioning, or both."""

    text: Output | None
    clip: Output | None


@dataclass(frozen=True)
class Prompt:
    """What a conditioning of the old packs is made of; `source` is where it leaves them.

    `ignored_clip` is a CLIP conditioning that was wired and that the old pack did not use; `schedule` is the node that
    told the connector its timesteps, None where it was asked at every step.
    """

    source: Output
    ella: Output
    text: Output
    clip: Output | None = None
    ignored_clip: Output | None = None
    schedule: int | str | None = None


def required(graph, node, name):
    """The Output wired to an input, past Reroute nodes; raises WorkflowError where there is none."""
    wired = graph.past_reroutes(graph.sources(node).get(name))
    if wired is None:
        raise WorkflowError(
            f"{graph.label(node)} has nothing wired to its input {name}; wire it or delete the node, then convert "
            "again."
        )
    return wired


def not_understood(graph, node, name, wired):
    return WorkflowError(
        f"{graph.label(node)} gets its {name} from {graph.label(wired.node)}, which is no node of the old ELLA packs "
        "for that; rewire it and convert again."
    )


def connector_of(graph, node):
    """Connector behind the input `ella` of a node."""
    schedule = None
    wired = required(graph, node, "ella")
    while graph.kind(wired.node) == SCHEDULE:
        if schedule is None and graph.mode(wired.node) in (ACTIVE, NEVER):
            schedule = wired.node
        wired = required(graph, wired.node, "ella")
    loaders = (PAIR_LOADER,) if graph.kind(node) == SIGMA_ENCODE else (CONNECTOR_LOADER, LOAD_ELLA.name)
    if graph.kind(wired.node) not in loaders:
        raise not_understood(graph, node, "ella", wired)
    return Connector(wired, schedule)


def encoder_of(graph, node):
    """The text encoder's loader behind the input `text_encoder` of a node."""
    wired = required(graph, node, "text_encoder")
    if graph.kind(wired.node) not in (ENCODER_LOADER, LOAD_ENCODER.name):
        raise not_understood(graph, node, "text_encoder", wired)
    return wired


def embeds_of(graph, node, name):
    """Embeds behind an input. Where two inputs of a node hold the same part, the one counts that won there."""
    text = clip = None
    waiting, seen = [(EMBEDS, required(graph, node, name))], set()
    while waiting:
        kind_of_wire, wired = waiting.pop()
        if (kind_of_wire, wired) in seen:
            continue
        seen.add((kind_of_wire, wired))
        if kind_of_wire == CLIP:
            clip = clip or wired
            continue
        kind = graph.kind(wired.node)
        if kind not in EMBEDS_INPUTS:
            raise not_understood(graph, node, name, wired)
        if kind in (T5_ENCODE, T5_TEXT_ENCODE.name):
            text = text or wired
        if kind != T5_ENCODE or "embeds" in graph.sources(wired.node):
            waiting += [(wire, required(graph, wired.node, source)) for source, wire in EMBEDS_INPUTS[kind]]
    return Embeds(text, clip)


def prompt_of_embeds(graph, node, name, slot, use_clip):
    embeds = embeds_of(graph, node, name)
    if embeds.text is None:
        raise WorkflowError(
            f"{graph.label(node)} has no ELLA Text Encode behind its input {name}; wire one there and convert again."
        )
    clip, ignored = (embeds.clip, None) if use_clip else (None, embeds.clip)
    connector = connector_of(graph, node)
    schedule = node if "sigmas" in graph.sources(node) else connector.schedule
    return Prompt(Output(node, slot), connector.output, embeds.text, clip, ignored, schedule)


def uses_clip(graph, node):
    """Whether an EllaApply appended CLIP's tokens: with a schedule the old pack left them out."""
    scheduled = connector_of(graph, node).schedule is not None or "sigmas" in graph.sources(node)
    return not scheduled and graph.argument(node, "mode") != "ELLA ONLY"


def prompts_of(graph, node):
    """The Prompts that leave the old packs' nodes at this one, in the order of its outputs."""
    kind = graph.kind(node)
    if kind in APPLIES:
        use_clip = uses_clip(graph, node)
        return [
            prompt_of_embeds(graph, node, name, slot, use_clip) for name, slot in (("positive", 1), ("negative", 2))
        ]
    if kind == ENCODE:
        return [prompt_of_embeds(graph, node, "embeds", 0, use_clip=False)]
    if kind == TEXT_ENCODE:
        clip = Output(node, 1) if "clip" in graph.sources(node) else None
        connector = connector_of(graph, node)
        return [Prompt(Output(node, 0), connector.output, Output(node, 0), clip, schedule=connector.schedule)]
    if kind == SIGMA_ENCODE:
        return [Prompt(Output(node, 0), connector_of(graph, node).output, Output(node, 0))]
    return []
