"""Apply ELLA before the samplers, in place of the old packs' ways to a CONDITIONING."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import WorkflowError
from .new_nodes import APPLY
from .old_nodes import DROPPED_NODES, SIGMA_ENCODE, TEXT_ENCODE
from .old_wires import connector_of, prompt_of_embeds, required, uses_clip
from .wires import Input, Output


@dataclass
class Group:
    """Prompts that reach the same samplers: one Apply ELLA for each two of them."""

    positives: list = field(default_factory=list)
    negatives: list = field(default_factory=list)
    samplers: list = field(default_factory=list)

    @property
    def prompts(self):
        return self.positives + self.negatives


def pass_model_by(graph, node):
    """Wires what an EllaApply gave its MODEL to directly to the model before it; Apply ELLA goes before the sampler."""
    readers = graph.consumers(Output(node, 0))
    if not readers:
        return
    unread = [name for name, slot in (("positive", 1), ("negative", 2)) if not graph.consumers(Output(node, slot))]
    if unread and patched_model(graph, node):
        raise WorkflowError(
            f"{graph.label(node)} put its prompts into the MODEL, and its output {unread[0]} is not wired, so what the "
            "sampler reads there was replaced unseen; wire its positive and negative to the sampler and convert again."
        )
    model = required(graph, node, "model")
    for end in readers:
        graph.join(model, end)


def patched_model(graph, node):
    """Whether an EllaApply without a schedule replaced the UNet's text itself, the old pack's first way."""
    return connector_of(graph, node).schedule is None and "sigmas" not in graph.sources(node)


def groups_of(reach, prompts):
    """Groups of the prompts, those that share a sampler together."""
    groups = {}
    for prompt in prompts:
        group = groups.setdefault(reach.root(reach.graph.consumers(prompt.source)[0].node), Group())
        (group.negatives if reach.is_negative(prompt) else group.positives).append(prompt)
    for node in reach.samplers:
        groups[reach.root(node)].samplers.append(node)
    return list(groups.values())


def pairs_of(group):
    """(positive, negative or None) for each Apply ELLA; a negative that is left over takes the positive's place."""
    sides = {prompt.ella: ([], []) for prompt in group.prompts}
    for side, prompts in enumerate((group.positives, group.negatives)):
        for prompt in prompts:
            sides[prompt.ella][side].append(prompt)
    pairs = []
    for positives, negatives in sides.values():
        positives += [negatives.pop() for _ in range((len(negatives) - len(positives) + 1) // 2)]
        pairs += zip(positives, negatives + [None] * (len(positives) - len(negatives)))
    return pairs


def add_applies(graph, group, ranks):
    """Puts Apply ELLA before the samplers of a group, once for each MODEL that they sample with."""
    readers = {prompt: graph.consumers(prompt.source) for prompt in group.prompts}
    ends = {}  # MODEL -> the samplers' Inputs that it is wired to
    for node in group.samplers:
        for end in graph.model_inputs(node):
            ends.setdefault(graph.wires.into(node)[end], []).append(end)
    # The earliest first: what lies between is given its prompts, and a later MODEL may come from there.
    models = sorted(ends, key=lambda model: ranks[model.node])
    model_of = {end.node: model for model in reversed(models) for end in reversed(ends[model])}
    changes, outputs, places = [], {}, {prompt: place_of(graph, prompt) for prompt in group.prompts}
    for model in models:
        patched = model
        fed = listed([graph.label(node) for node in dict.fromkeys(end.node for end in ends[model])])
        for positive, negative in pairs_of(group):
            node = graph.add(APPLY, apply_arguments(patched, positive, negative), *places[positive])
            places[positive] = (node, "below")
            patched = Output(node, 0)
            outputs |= {(model, positive): Output(node, 1), (model, negative): Output(node, 2)}
            changes.append(f"{graph.label(node)} was added before {fed}, on the MODEL of {graph.label(model.node)}")
        for end in ends[model]:
            graph.join(patched, end)
    for prompt, wired in readers.items():
        for end in wired:
            graph.join(outputs[model_of.get(end.node, models[0]), prompt], end)
    return changes


def listed(labels):
    return ", ".join(labels if len(labels) < 4 else [*labels[:3], f"and {len(labels) - 3} more"])


def apply_arguments(model, positive, negative):
    arguments = {"model": model, "ella": positive.ella, "positive": positive.text, "clip_positive": positive.clip}
    if negative is not None:
        arguments |= {"negative": negative.text, "clip_negative": negative.clip}
    return {name: value for name, value in arguments.items() if value is not None}


def place_of(graph, prompt):
    """(node, side) where the Apply ELLA of a prompt goes: a text encoder stays, the others make room."""
    stays = graph.kind(prompt.source.node) in (TEXT_ENCODE, SIGMA_ENCODE)
    return prompt.source.node, "right" if stays else "over"


def ignored_clip(graph, node, clip):
    return (
        f"{graph.label(clip.node)} is not wired to Apply ELLA, since {graph.label(node)} did not use its tokens; "
        "wire it to clip_positive or clip_negative to add them"
    )


def finish_replaced(graph):
    """Rewires an Apply ELLA that the editor already put in place of an EllaApply, with old nodes still before it."""
    changes = []
    for node in graph.of_kinds((APPLY.name,)):
        starts = {name: graph.past_reroutes(start) for name, start in graph.sources(node).items()}
        old = [name for name, start in starts.items() if start is not None and graph.kind(start.node) in DROPPED_NODES]
        if not old:
            continue
        use_clip = uses_clip(graph, node)
        connector = connector_of(graph, node).output
        for name in [name for name in ("positive", "negative") if name in old]:
            prompt = prompt_of_embeds(graph, node, name, 0, use_clip)
            graph.join(prompt.text, Input(node, name))
            if prompt.clip is not None:
                graph.join(prompt.clip, Input(node, f"clip_{name}"))
            if prompt.ignored_clip is not None:
                changes.append(ignored_clip(graph, node, prompt.ignored_clip))
        graph.join(connector, Input(node, "ella"))
        changes.append(f"{graph.label(node)} was wired past the old nodes at its {' and '.join(old)}")
    return changes
