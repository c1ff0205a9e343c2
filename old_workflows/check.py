"""What the converter refuses before it changes anything."""

from .errors import WorkflowError
from .graph import REROUTE, Output
from .new_nodes import APPLY
from .old_nodes import DIFFUSERS_NODES, OLD_NODES, OWN_TYPES, SCHEDULE, TEXT_ENCODE

BYPASSED = 4


def check(graph):
    """Raises WorkflowError for graphs that no rule fits."""
    diffusers = graph.of_kinds(DIFFUSERS_NODES)
    if diffusers:
        raise WorkflowError(
            f"{graph.label(diffusers[0])} belongs to a pack that samples with diffusers instead of ComfyUI, so there "
            "is no sampler to rewire; start from this pack's template ELLA text to image instead."
        )
    if not graph.of_kinds(OLD_NODES):
        raise WorkflowError("The workflow has no node of the old ELLA packs, so there is nothing to convert.")
    for node in graph.of_kinds(OLD_NODES):
        if graph.mode(node) == BYPASSED and graph.kind(node) != SCHEDULE:
            raise WorkflowError(f"{graph.label(node)} is bypassed; switch it on or delete it, then convert again.")
        check_readers(graph, node)
    for node in graph.of_kinds(("EllaAdvancedApply",)):
        start, end = graph.argument(node, "start_at"), graph.argument(node, "end_at")
        if start not in (None, 0) or end not in (None, 1):
            raise WorkflowError(
                f"{graph.label(node)} is limited to {start} to {end} of the sampling, which Apply ELLA has no inputs "
                "for; set it to 0 and 1, convert, and add ConditioningSetTimestepRange."
            )
    for node in graph.of_kinds((TEXT_ENCODE,)):
        wired = "clip" in graph.sources(node)
        if not wired and (graph.argument(node, "text_clip") or graph.consumers(Output(node, 1))):
            raise WorkflowError(
                f"{graph.label(node)} has a prompt for CLIP and no CLIP; wire one or empty text_clip, then convert "
                "again."
            )


def check_readers(graph, node):
    """Raises WorkflowError where a wire of the old packs' own types goes into a node of another pack."""
    waiting = [Output(node, 0)] if graph.kind(node) in OWN_TYPES else []
    while waiting:
        for end in graph.consumers(waiting.pop()):
            if graph.kind(end.node) == REROUTE:
                waiting.append(Output(end.node, 0))
            elif graph.kind(end.node) not in (*OLD_NODES, APPLY.name):
                raise WorkflowError(
                    f"{graph.label(node)} is wired to {graph.label(end.node)}, which is no node of the old ELLA packs; "
                    "take that wire out and convert again."
                )
