"""Wires that lead in a circle, which ComfyUI can't run, and the order of a graph without one."""

from collections import deque

from .errors import WorkflowError


def order_of(graph, nodes):
    """{node: rank} of `nodes`, of all behind them and of what feeds any of these; each node comes after what feeds it.

    Raises WorkflowError where wires lead in a circle there.
    """
    near = reached(reached(nodes, lambda node: reading(graph, node)), lambda node: feeders(graph, node))
    missing = {node: len(feeders(graph, node)) for node in graph.nodes() if node in near}
    waiting = deque(node for node, count in missing.items() if not count)
    ranks = {}
    while waiting:
        node = waiting.popleft()
        ranks[node] = len(ranks)
        for reader in reading(graph, node):
            if reader in near:
                missing[reader] -= 1
                if not missing[reader]:
                    waiting.append(reader)
    if len(ranks) < len(near):
        labels = sorted(graph.label(node) for node in circle_in(graph, near - set(ranks)))
        named = " and ".join(labels[:2]) if len(labels) > 1 else f"{labels[0]} and itself"
        raise WorkflowError(
            f"The wires between {named} lead in a circle, which ComfyUI can't run; take one of them out and convert "
            "again."
        )
    return ranks


def feeders(graph, node):
    return [start.node for start in graph.wires.into(node).values()]


def reading(graph, node):
    return [end.node for end in graph.readers(node)]


def reached(nodes, neighbours):
    """The nodes and all that can be reached from them."""
    found, waiting = set(nodes), list(nodes)
    while waiting:
        new = set(neighbours(waiting.pop())) - found
        found |= new
        waiting += new
    return found


def circle_in(graph, nodes):
    """One circle among nodes of which each is fed by another one of them or by itself."""
    path, places = [], {}
    node = min(nodes, key=str)
    while node not in places:
        places[node] = len(path)
        path.append(node)
        node = next(feeder for feeder in feeders(graph, node) if feeder in nodes)
    return path[places[node] :]
