"""What runs through the old packs' own wires: which connector, which prompt, which tokens of CLIP."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .errors import WorkflowError
from .graph import Output
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

ACTIVE, NEVER = 0, 2


@dataclass(frozen=True)
class Connector:
    """The loader behind an ELLA wire, and whether a SetEllaTimesteps that is switched on lies between."""

    output: Output
    scheduled: bool


@dataclass(frozen=True)
class Embeds:
    """What an ELLA_EMBEDS wire holds: the node that reads the prompt, CLIP's conditioning, or both."""

    text: Output | None
    clip: Output | None


@dataclass(frozen=True)
class Prompt:
    """What a conditioning of the old packs is made of; `source` is where it leaves them.

    `ignored_clip` is a CLIP conditioning that was wired and that the old pack did not use.
    """

    source: Output
    ella: Output
    text: Output
    clip: Output | None = None
    ignored_clip: Output | None = None


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
    scheduled = False
    wired = required(graph, node, "ella")
    while graph.kind(wired.node) == SCHEDULE:
        scheduled = scheduled or graph.mode(wired.node) in (ACTIVE, NEVER)
        wired = required(graph, wired.node, "ella")
    loaders = (PAIR_LOADER,) if graph.kind(node) == SIGMA_ENCODE else (CONNECTOR_LOADER, LOAD_ELLA.name)
    if graph.kind(wired.node) not in loaders:
        raise not_understood(graph, node, "ella", wired)
    return Connector(wired, scheduled)


def encoder_of(graph, node):
    """The text encoder's loader behind the input `text_encoder` of a node."""
    wired = required(graph, node, "text_encoder")
    if graph.kind(wired.node) not in (ENCODER_LOADER, LOAD_ENCODER.name):
        raise not_understood(graph, node, "text_encoder", wired)
    return wired


def embeds_of(graph, node, name):
    """Embeds behind an input. Where two inputs of a node hold the same part, the one counts that won there."""
    wired = required(graph, node, name)
    start, kind = wired.node, graph.kind(wired.node)
    if kind == T5_TEXT_ENCODE.name:
        return Embeds(wired, None)
    if kind == T5_ENCODE:
        before = embeds_of(graph, start, "embeds") if "embeds" in graph.sources(start) else Embeds(None, None)
        return replace(before, text=wired)
    if kind == CLIP_TO_EMBEDS:
        return Embeds(None, required(graph, start, "cond"))
    if kind in CLIP_AND_EMBEDS:
        embeds = embeds_of(graph, start, "embeds")
        return replace(embeds, clip=embeds.clip or required(graph, start, "cond"))
    if kind == COMBINE_EMBEDS:
        first, added = embeds_of(graph, start, "embeds"), embeds_of(graph, start, "embeds_add")
        return Embeds(added.text or first.text, added.clip or first.clip)
    raise not_understood(graph, node, name, wired)


def prompt_of_embeds(graph, node, name, slot, use_clip):
    embeds = embeds_of(graph, node, name)
    if embeds.text is None:
        raise WorkflowError(
            f"{graph.label(node)} has no ELLA Text Encode behind its input {name}; wire one there and convert again."
        )
    clip, ignored = (embeds.clip, None) if use_clip else (None, embeds.clip)
    return Prompt(Output(node, slot), connector_of(graph, node).output, embeds.text, clip, ignored)


def uses_clip(graph, node):
    """Whether an EllaApply appended CLIP's tokens: with a schedule the old pack left them out."""
    scheduled = connector_of(graph, node).scheduled or "sigmas" in graph.sources(node)
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
        return [Prompt(Output(node, 0), connector_of(graph, node).output, Output(node, 0), clip)]
    if kind == SIGMA_ENCODE:
        return [Prompt(Output(node, 0), connector_of(graph, node).output, Output(node, 0))]
    return []
