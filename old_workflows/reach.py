"""Which samplers a conditioning reaches, past ControlNets, areas and whatever else lies between."""

from __future__ import annotations

from dataclasses import dataclass, field

from .errors import WorkflowError
from .old_nodes import BLENDS, OLD_NODES


@dataclass
class Reach:
    """Ids of the nodes that take a MODEL and the conditioning, and whether all of them take it as their negative."""

    samplers: list = field(default_factory=list)
    negative: bool = True


def reach_of(graph, output):
    """Follows an Output of conditioning to the samplers; raises WorkflowError where it ends elsewhere."""
    reach = Reach()
    seen, waiting = set(), [output]
    while waiting:
        start = waiting.pop(0)
        seen.add(start)
        for end in graph.consumers(start):
            if graph.kind(end.node) in OLD_NODES or graph.kind(end.node) in BLENDS:
                raise WorkflowError(
                    f"The conditioning of {graph.label(output.node)} goes into {graph.label(end.node)}, which can't be "
                    "done with ELLA's tokens here because they change at every step; take that node out and convert "
                    "again."
                )
            if graph.model_inputs(end.node):
                if end.node not in reach.samplers:
                    reach.samplers.append(end.node)
                reach.negative = reach.negative and "neg" in end.name
            else:
                waiting += [further for further in graph.conditioning_outputs(end.node) if further not in seen]
    if not reach.samplers:
        raise WorkflowError(
            f"No sampler was found behind {graph.label(output.node)}, and Apply ELLA needs the sampler's MODEL; wire "
            "it to a sampler without Set and Get nodes and convert again."
        )
    return reach
