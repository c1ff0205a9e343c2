"""What the converter refuses before it changes anything."""

from .errors import WorkflowError
from .graph import REROUTES
from .new_nodes import APPLY, TEMPLATE
from .old_nodes import DIFFUSERS_NODES, OLD_NODES, OWN_TYPES, SCHEDULE, TEXT_ENCODE
from .quote import quote
from .wires import Output

BYPASSED = 4


def check(graph):
    """Raises WorkflowError for graphs that no rule fits; returns a line for each thing that stays as it is."""
    diffusers = graph.of_kinds(DIFFUSERS_NODES)
    old = graph.of_kinds(OLD_NODES)
    if diffusers and not old:
        raise WorkflowError(
            f"{graph.label(diffusers[0])} belongs to a pack that samples with diffusers instead of ComfyUI, so there "
            f"is no sampler to rewire; start from this pack's template {TEMPLATE} instead."
        )
    if not old:
        raise WorkflowError("The workflow has no node of the old ELLA packs, so there is nothing to convert.")
    lines = [
        f"{graph.label(node)} stays as it is: it belongs to a pack that samples with diffusers instead of ComfyUI, and "
        "no node here takes its place"
        for node in diffusers
    ]
    lines += broken_wires(graph)
    seen = set()
    for node in old:
        if graph.mode(node) == BYPASSED and graph.kind(node) != SCHEDULE:
            raise WorkflowError(f"{graph.label(node)} is bypassed; switch it on or delete it, then convert again.")
        check_readers(graph, node, seen)
    for node in graph.of_kinds(("EllaAdvancedApply",)):
        for name in ("mode", "start_at", "end_at"):
            if name in graph.sources(node):
                raise WorkflowError(
                    f"{graph.label(node)} gets its {name} by a wire, behind which its value can't be seen; set it in "
                    "the node itself and convert again."
                )
        start, end = graph.argument(node, "start_at"), graph.argument(node, "end_at")
        if start not in (None, 0) or end not in (None, 1):
            raise WorkflowError(
                f"{graph.label(node)} is limited to {quote(start)} to {quote(end)} of the sampling, which Apply ELLA "
                "has no inputs for; set it to 0 and 1, convert, and add ConditioningSetTimestepRange."
            )
    for node in graph.of_kinds((TEXT_ENCODE,)):
        wired = "clip" in graph.sources(node)
        if not wired and (graph.argument(node, "text_clip") or graph.consumers(Output(node, 1))):
            raise WorkflowError(
                f"{graph.label(node)} has a prompt for CLIP and no CLIP; wire one or empty text_clip, then convert "
                "again."
            )
    return lines


def broken_wires(graph):
    """A line for each wire that begins nowhere; raises WorkflowError where an old node is at one of its ends."""
    lines = []
    for end, start in graph.broken:
        known = graph.has(start.node)
        origin = graph.label(start.node) if known else f"node {quote(start.node, 20)}"
        found = f"{graph.label(end.node)} gets its {quote(end.name)} from output {quote(start.slot, 20)} of {origin}"
        if graph.kind(end.node) in OLD_NODES or known and graph.kind(start.node) in OLD_NODES:
            raise WorkflowError(f"{found}, which does not exist; wire it anew and convert again.")
        lines.append(f"{found}, which does not exist; wire it anew")
    return lines


def check_readers(graph, node, seen):
    """Raises WorkflowError where a wire of the old packs' own types goes into a node of another pack."""
    waiting = [Output(node, 0)] if graph.kind(node) in OWN_TYPES else []
    while waiting:
        output = waiting.pop()
        if output in seen:
            continue
        seen.add(output)
        for end in graph.consumers(output):
            if graph.kind(end.node) in REROUTES:
                waiting.append(Output(end.node, 0))
            elif graph.kind(end.node) not in (*OLD_NODES, APPLY.name):
                raise WorkflowError(
                    f"{graph.label(node)} is wired to {graph.label(end.node)}, which is no node of the old ELLA packs; "
                    "take that wire out and convert again."
                )
