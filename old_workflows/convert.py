"""The rules in order: a graph of the earlier ELLA packs becomes one of this pack, and each change becomes a line."""

from .add_apply_nodes import add_applies, finish_replaced, groups_of, ignored_clip, pass_model_by
from .check import check
from .circles import order_of
from .errors import WorkflowError
from .graph import REROUTES
from .new_nodes import APPLY, EARLIER_T5_TEXT_ENCODE, T5_TEXT_ENCODE
from .old_nodes import (
    APPLIES,
    DROPPED_NODES,
    ENCODE,
    OLD_NODES,
    SCHEDULE,
    SCHEDULE_INPUTS,
    SIGMA_ENCODE,
    SWITCHES,
    TEXT_ENCODE,
)
from .old_wires import connector_of, prompts_of
from .quote import quote
from .reach import Reach
from .schedules import change_of_picture
from .text_nodes import convert_text_nodes


def convert(graph):
    """Rewires a Graph in place; returns a line for each change.

    Raises WorkflowError for what it doesn't understand; the graph may then be half converted and must be thrown away.
    """
    graph.check_inside()
    changes = graph.rename(EARLIER_T5_TEXT_ENCODE, T5_TEXT_ENCODE.name)
    if changes and not graph.of_kinds(OLD_NODES):
        return changes
    changes += drop_switches(graph)
    changes += check(graph)
    ranks = order_of(graph, graph.of_kinds(OLD_NODES))
    unused = [node for node in graph.of_kinds(DROPPED_NODES) if not graph.is_used(node)]
    feeders = schedule_feeders(graph)
    sources = graph.of_kinds((*APPLIES, ENCODE, TEXT_ENCODE, SIGMA_ENCODE))
    prompts = [prompt for node in sources if graph.is_used(node) for prompt in prompts_of(graph, node)]
    changes += [
        ignored_clip(graph, prompt.source.node, prompt.ignored_clip) for prompt in prompts if prompt.ignored_clip
    ]
    prompts = [prompt for prompt in prompts if graph.consumers(prompt.source)]
    reach = Reach(graph, ranks, prompts)
    groups = groups_of(reach, prompts)
    whys = reasons(graph, groups, unused)
    for node in graph.of_kinds(APPLIES):
        pass_model_by(graph, node)
    for group in groups:
        changes += add_applies(graph, group, ranks)
    changes += finish_replaced(graph)
    changes += convert_text_nodes(graph)
    changes += drop_nodes(graph, whys)
    changes += drop_feeders(graph, feeders)
    order_of(graph, graph.of_kinds((APPLY.name,)))
    graph.finish()
    return list(dict.fromkeys(changes))


def drop_switches(graph):
    """Takes out the wires from old nodes to nodes that switch others on and off, which would be wired to no node."""
    lines = []
    for switch in graph.of_kinds(SWITCHES):
        for end, start in graph.wires.into(switch).items():
            start = graph.past_reroutes(start)
            if start is not None and graph.kind(start.node) in OLD_NODES:
                graph.cut(end)
                lines.append(
                    f"The wire from {graph.label(start.node)} to {graph.label(switch)} was removed; wire the new nodes "
                    "to it if it shall switch them"
                )
    return lines


def schedule_feeders(graph):
    """Ids of the nodes that feed what told the connector a schedule, and of Reroute nodes on the old packs' wires."""
    feeders = []
    for node in graph.of_kinds(OLD_NODES):
        names = SCHEDULE_INPUTS.get(graph.kind(node), ())
        feeders += [
            start.node
            for name, start in graph.sources(node).items()
            if name in names or graph.kind(start.node) in REROUTES
        ]
    return feeders


def reasons(graph, groups, unused):
    """{node: why it has no counterpart} of the old nodes that go."""
    samplers = {}  # node that told a schedule -> the samplers of its prompts
    for group in groups:
        for prompt in group.prompts:
            samplers.setdefault(prompt.schedule, {}).update(dict.fromkeys(group.samplers))
    for node in graph.of_kinds((APPLY.name,)):  # the editor put it there, so its samplers were not looked for
        wired = graph.past_reroutes(graph.sources(node).get("ella"))
        if wired is not None and graph.kind(wired.node) == SCHEDULE:
            samplers.setdefault(connector_of(graph, node).schedule, {})
    whys = {}
    for node in graph.of_kinds(DROPPED_NODES):
        scheduled = graph.kind(node) == SCHEDULE or graph.kind(node) in APPLIES and "sigmas" in graph.sources(node)
        whys[node] = "nothing used it" if node in unused else "Apply ELLA does its part"
        if scheduled and node not in unused:
            change = change_of_picture(graph, node, list(samplers[node])) if node in samplers else ""
            whys[node] = f"Apply ELLA follows the sampler's own schedule{change}"
    return whys


def drop_nodes(graph, whys):
    """Removes the old nodes that have no counterpart."""
    changes = []
    for node, why in whys.items():
        for end in graph.readers(node):
            if graph.kind(end.node) not in (*DROPPED_NODES, *REROUTES):
                raise WorkflowError(
                    f"{graph.label(end.node)} gets its {quote(end.name)} from {graph.label(node)}, and nothing "
                    "here takes that node's place there; rewire it and convert again."
                )
        changes.append(f"{graph.label(node)} was removed; {why}")
    for node in whys:
        graph.remove(node)
    return changes


def drop_feeders(graph, feeders):
    """Removes those of the nodes that nothing reads any more, and what fed only them."""
    changes, waiting = [], list(feeders)
    while waiting:
        node = waiting.pop()
        if graph.has(node) and not graph.is_used(node):
            waiting += [start.node for start in graph.sources(node).values()]
            changes.append(f"{graph.label(node)} was removed; it only fed nodes that are gone")
            graph.remove(node)
    return changes
