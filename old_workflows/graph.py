"""A workflow as nodes and wires, whichever of ComfyUI's two formats it was saved in."""

from __future__ import annotations

from abc import ABC, abstractmethod
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


class Graph(ABC):
    """What both formats offer; an argument of a node is an Output where a wire comes in, else a widget's value."""

    @abstractmethod
    def nodes(self):
        """Ids of the nodes, in the order of the file."""

    @abstractmethod
    def kind(self, node):
        """The type of a node."""

    @abstractmethod
    def mode(self, node):
        """How the editor treats a node: 0 is active, 2 never runs, 4 is bypassed."""

    @abstractmethod
    def links(self):
        """(Output, Input) of each wire."""

    @abstractmethod
    def argument(self, node, name):
        """The Output wired to an input, else the value of its widget; None where there is neither."""

    @abstractmethod
    def model_inputs(self, node):
        """The Inputs of a node that a MODEL is wired to."""

    @abstractmethod
    def conditioning_outputs(self, node):
        """The Outputs of a node that a conditioning may leave by."""

    @abstractmethod
    def join(self, output, end):
        """Wires an Output to an Input, in place of what was wired there."""

    @abstractmethod
    def add(self, kind, arguments, near, side):
        """Adds a node of a NodeKind "over", "right" of or "below" the node `near`; returns its id."""

    @abstractmethod
    def replace(self, node, kind, arguments):
        """Makes a node one of a NodeKind; what read its outputs reads them still."""

    @abstractmethod
    def remove(self, node):
        """Takes out a node and its wires."""

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
