"""The rules in order: a graph of the earlier ELLA packs becomes one of this pack, and each change becomes a line."""

from .add_apply_nodes import add_applies, finish_replaced, groups_of, ignored_clip, pass_model_by
from .check import check
from .graph import REROUTE
from .old_nodes import APPLIES, DROPPED_NODES, ENCODE, OLD_NODES, SCHEDULE, SCHEDULE_INPUTS, SIGMA_ENCODE, TEXT_ENCODE
from .old_wires import prompts_of
from .text_nodes import convert_text_nodes


def convert(graph):
    """Rewires a Graph in place; returns a line for each change.

    Raises WorkflowError for what it doesn't understand; the graph may then be half converted and must be thrown away.
    """
    check(graph)
    unused = [node for node in graph.of_kinds(DROPPED_NODES) if not graph.is_used(node)]
    feeders = schedule_feeders(graph)
    sources = graph.of_kinds((*APPLIES, ENCODE, TEXT_ENCODE, SIGMA_ENCODE))
    prompts = [prompt for node in sources if graph.is_used(node) for prompt in prompts_of(graph, node)]
    changes = [
        ignored_clip(graph, prompt.source.node, prompt.ignored_clip) for prompt in prompts if prompt.ignored_clip
    ]
    for node in graph.of_kinds(APPLIES):
        pass_model_by(graph, node)
    for group in groups_of(graph, prompts):
        changes += add_applies(graph, group)
    changes += finish_replaced(graph)
    changes += convert_text_nodes(graph)
    changes += drop_nodes(graph, unused)
    changes += drop_feeders(graph, feeders)
    return list(dict.fromkeys(changes))


def schedule_feeders(graph):
    """Ids of the nodes that feed what told the connector a schedule, and of Reroute nodes on the old packs' wires."""
    feeders = []
    for node in graph.of_kinds(OLD_NODES):
        names = SCHEDULE_INPUTS.get(graph.kind(node), ())
        feeders += [
            start.node
            for name, start in graph.sources(node).items()
            if name in names or graph.kind(start.node) == REROUTE
        ]
    return feeders


def drop_nodes(graph, unused):
    """Removes the old nodes that have no counterpart."""
    changes = []
    for node in graph.of_kinds(DROPPED_NODES):
        why = (
            "Apply ELLA follows the sampler's own schedule"
            if graph.kind(node) == SCHEDULE
            else "Apply ELLA does its part"
        )
        changes.append(f"{graph.label(node)} was removed; {'nothing used it' if node in unused else why}")
        graph.remove(node)
    return changes


def drop_feeders(graph, feeders):
    """Removes those of the nodes that nothing reads any more, and what fed only them."""
    changes, waiting = [], list(feeders)
    while waiting:
        node = waiting.pop()
        if node in graph.nodes() and not graph.is_used(node):
            waiting += [start.node for start in graph.sources(node).values()]
            changes.append(f"{graph.label(node)} was removed; it only fed nodes that are gone")
            graph.remove(node)
    return changes
