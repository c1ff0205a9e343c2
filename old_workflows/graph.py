"""A workflow as nodes and wires, whichever of ComfyUI's two formats it was saved in."""

from abc import ABC, abstractmethod

from .quote import quote
from .wires import Input, Output, Wires

REROUTES = ("Reroute", "Reroute (rgthree)")


class Graph(ABC):
    """What both formats offer; an argument of a node is an Output where a wire comes in, else a widget's value.

    `broken` holds an (Input, Output) for each wire whose Output does not exist; it is no wire of the graph.
    """

    def __init__(self):
        self.wires = Wires()
        self.broken = []

    @abstractmethod
    def check_inside(self):
        """Raises WorkflowError for old nodes where they can't be rewired: in subgraphs and group nodes."""

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
    def input_names(self, node):
        """The names of a node's inputs, as far as the file tells them."""

    @abstractmethod
    def value(self, node, name):
        """The value of a widget, None where the file has none."""

    @abstractmethod
    def texts(self, node):
        """The texts in the widgets of a node."""

    @abstractmethod
    def text_inputs(self, node):
        """The wired Inputs of a node that may bring it text."""

    @abstractmethod
    def model_inputs(self, node):
        """The Inputs of a node that a MODEL is wired to."""

    @abstractmethod
    def conditioning_outputs(self, node):
        """The Outputs of a node that a conditioning may leave by."""

    @abstractmethod
    def takes_conditioning(self, end):
        """Whether an Input behind one of those Outputs surely takes a conditioning."""

    @abstractmethod
    def draw(self, output, end):
        """Writes a wire into the file, in place of what was wired to its Input."""

    @abstractmethod
    def erase(self, end):
        """Takes the wire into an Input out of the file."""

    @abstractmethod
    def add(self, kind, arguments, near, side):
        """Adds a node of a NodeKind "over", "right" of or "below" the node `near`; returns its id."""

    @abstractmethod
    def replace(self, node, kind, arguments):
        """Makes a node one of a NodeKind; what read its outputs reads them still."""

    @abstractmethod
    def rename(self, kind, name):
        """Gives the nodes of type `kind` that have this pack's inputs the type `name`; returns a line for each."""

    @abstractmethod
    def delete(self, node):
        """Takes a node that has no wires out of the file."""

    @abstractmethod
    def finish(self):
        """Writes what waited for the last change."""

    def has(self, node):
        return node in self.nodes()

    def label(self, node):
        """How sentences name a node."""
        return f"{quote(self.kind(node))} (node {quote(node, 20)})"

    def of_kinds(self, kinds):
        """Ids of the nodes whose type is among `kinds`, in the order of the file."""
        return [node for node in self.nodes() if self.kind(node) in kinds]

    def consumers(self, output):
        """The Inputs that an Output is wired to."""
        return self.wires.readers(output)

    def readers(self, node):
        """The Inputs that any Output of a node is wired to."""
        return [end for output in self.wires.outputs(node) for end in self.wires.readers(output)]

    def is_used(self, node):
        return bool(self.wires.outputs(node))

    def sources(self, node):
        """{input name: Output} of the wires into a node."""
        return {end.name: start for end, start in self.wires.into(node).items() if end.number == 0}

    def argument(self, node, name):
        """The Output wired to an input, else the value of its widget; None where there is neither."""
        wired = self.sources(node).get(name)
        return self.value(node, name) if wired is None else wired

    def past_reroutes(self, output):
        """The Output behind a wire, Reroute nodes skipped; None where nothing is wired, or they lead in a circle."""
        seen = set()
        while output is not None and self.kind(output.node) in REROUTES:
            if output in seen:
                return None
            seen.add(output)
            output = next(iter(self.wires.into(output.node).values()), None)
        return output

    def join(self, output, end):
        """Wires an Output to an Input, in place of what was wired there."""
        self.draw(output, end)
        self.wires.add(output, end)

    def cut(self, end):
        """Takes out the wire into an Input."""
        self.erase(end)
        self.wires.cut(end)

    def wire(self, node, arguments):
        """Wires those of a node's arguments that are Outputs."""
        for name, value in arguments.items():
            if isinstance(value, Output):
                self.join(value, Input(node, name))

    def remove(self, node):
        """Takes out a node and its wires."""
        for end in [*self.readers(node), *self.wires.into(node)]:
            self.cut(end)
        self.delete(node)
