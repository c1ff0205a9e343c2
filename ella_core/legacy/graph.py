"""A workflow as nodes and wires, whichever of ComfyUI's two formats it was saved in."""

from __future__ import annotations

from dataclasses import dataclass

REROUTE = "Reroute"


@dataclass(frozen=True)
class Output:
    """An output of a node, where wires begin."""

    node: int | str
    slot: int


@dataclass(frozen=True)
class Input:
    """An input of a node, where a wire ends."""

    node: int | str
    name: str


@dataclass(frozen=True)
class NodeKind:
    """A node type that the converter writes: (name, wire type) of its inputs, widgets and outputs."""

    name: str
    pack: str
    inputs: tuple[tuple[str, str], ...]
    widgets: tuple[tuple[str, str], ...]
    outputs: tuple[tuple[str, str], ...]
    defaults: tuple = ()
    optional: tuple[str, ...] = ()
    size: tuple[int, int] = (240, 150)


class Graph:
    """What both formats offer; an argument of a node is an Output where a wire comes in, else a widget's value.

    A format adds `nodes` (ids), `kind`, `mode`, `links`, `argument`, `model_inputs`, `conditioning_outputs`, `connect`,
    `add`, `replace` and `remove`.
    """

    def label(self, node):
        return f"{self.kind(node)} (node {node})"

    def of_kinds(self, kinds):
        """Ids of the nodes whose type is among `kinds`, in the order of the file."""
        return [node for node in self.nodes() if self.kind(node) in kinds]

    def consumers(self, output):
        """The inputs that an output is wired to."""
        return [end for start, end in self.links() if start == output]

    def is_used(self, node):
        return any(start.node == node for start, _ in self.links())

    def sources(self, node):
        """{input name: Output} of the wires into a node."""
        return {end.name: start for start, end in self.links() if end.node == node}

    def past_reroutes(self, output):
        """The Output behind a wire, Reroute nodes skipped; None where nothing is wired."""
        while output is not None and self.kind(output.node) == REROUTE:
            output = next(iter(self.sources(output.node).values()), None)
        return output
