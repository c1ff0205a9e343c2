"""The wires of a graph, found by either end in one step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Output:
    """An output of a node, where wires begin."""

    node: int | str
    slot: int


@dataclass(frozen=True)
class Input:
    """An input of a node, where a wire ends; `number` counts the inputs of the same name before it."""

    node: int | str
    name: str
    number: int = 0


class Wires:
    """Wires from Outputs to Inputs, an Input having one at most; both ends list them in the order they were added."""

    def __init__(self):
        self.by_output = {}  # node -> slot -> {Input: None}, a dict for its order
        self.by_input = {}  # node -> {Input: Output}

    def add(self, start, end):
        self.cut(end)
        self.by_output.setdefault(start.node, {}).setdefault(start.slot, {})[end] = None
        self.by_input.setdefault(end.node, {})[end] = start

    def cut(self, end):
        """Takes out the wire into an Input, where there is one."""
        start = self.by_input.get(end.node, {}).pop(end, None)
        if start is not None:
            del self.by_output[start.node][start.slot][end]

    def into(self, node):
        """{Input: Output} of the wires into a node."""
        return dict(self.by_input.get(node, {}))

    def readers(self, output):
        """The Inputs that an Output is wired to."""
        return list(self.by_output.get(output.node, {}).get(output.slot, {}))

    def outputs(self, node):
        """The Outputs of a node that are wired, by their slots."""
        return [Output(node, slot) for slot, ends in sorted(self.by_output.get(node, {}).items()) if ends]
