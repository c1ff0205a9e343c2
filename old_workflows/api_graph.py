"""Workflows in API format: {node id: {"class_type", "inputs"}}."""

from .graph import Graph
from .old_nodes import OLD_TITLES, OUTPUTS
from .wires import Input, Output

# The format has no types: inputs of these names bring no text.
NO_TEXT = ("model", "clip", "vae", "image", "pixels", "samples", "latent", "mask")


def is_api(workflow):
    return bool(workflow) and all(
        isinstance(node, dict) and isinstance(node.get("class_type"), str) and isinstance(node.get("inputs"), dict)
        for node in workflow.values()
    )


def is_wire(value):
    """Whether the host takes an input's value as a wire."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) in (int, float)


class APIGraph(Graph):
    """A graph that edits `workflow` in place."""

    def __init__(self, workflow):
        super().__init__()
        self.workflow = workflow
        for node, fields in workflow.items():
            for name, value in fields["inputs"].items():
                if is_wire(value):
                    start, end = Output(*value), Input(node, name)
                    if self.exists(start):
                        self.wires.add(start, end)
                    else:
                        self.broken.append((end, start))
        # A new node must not get the id that a broken wire names.
        taken = [*workflow, *(start.node for _, start in self.broken)]
        self.last_number = max((int(node) for node in taken if node.isdecimal() and len(node) < 16), default=0)

    def exists(self, output):
        """Whether a node has an Output, as far as the format tells."""
        if output.node not in self.workflow or output.slot % 1:
            return False
        return 0 <= output.slot < OUTPUTS.get(self.kind(output.node), output.slot + 1)

    def check_inside(self):
        pass

    def nodes(self):
        return list(self.workflow)

    def has(self, node):
        return node in self.workflow

    def kind(self, node):
        return self.workflow[node]["class_type"]

    def mode(self, node):
        return 0

    def input_names(self, node):
        return list(self.workflow[node]["inputs"])

    def value(self, node, name):
        return self.workflow[node]["inputs"].get(name)

    def texts(self, node):
        return [value for value in self.workflow[node]["inputs"].values() if isinstance(value, str)]

    def text_inputs(self, node):
        return [end for end in self.wires.into(node) if not end.name.startswith(NO_TEXT)]

    def model_inputs(self, node):
        # "upscale_model" and "model_name" are not wires of a diffusion model.
        names = [name for name in self.sources(node) if name == "model" or name.startswith("model_")]
        return [Input(node, name) for name in names if name != "model_name"]

    def conditioning_outputs(self, node):
        return self.wires.outputs(node)

    def takes_conditioning(self, end):
        return any(word in end.name for word in ("cond", "pos", "neg"))

    def draw(self, output, end):
        self.workflow[end.node]["inputs"][end.name] = [output.node, output.slot]

    def erase(self, end):
        del self.workflow[end.node]["inputs"][end.name]

    def add(self, kind, arguments, near, side):
        self.last_number += 1
        node = str(self.last_number)
        self.write(node, kind, arguments, kind.name)
        return node

    def replace(self, node, kind, arguments):
        for end in self.wires.into(node):
            self.cut(end)
        meta = self.workflow[node].get("_meta")
        title = meta.get("title") if isinstance(meta, dict) else None
        own = isinstance(title, str) and title not in (self.kind(node), OLD_TITLES.get(self.kind(node)))
        self.write(node, kind, arguments, title if own else kind.name)

    def write(self, node, kind, arguments, title):
        values = dict(zip((name for name, _ in kind.widgets), kind.defaults)) | arguments
        inputs = {name: value for name, value in values.items() if value is not None}
        self.workflow[node] = {"inputs": inputs, "class_type": kind.name, "_meta": {"title": title}}
        self.wire(node, arguments)

    def rename(self, kind, name):
        found = [node for node in self.of_kinds((kind,)) if {"clip", "max_length"} & set(self.input_names(node))]
        lines = [f"{self.label(node)} became {name}" for node in found]
        for node in found:
            self.workflow[node]["class_type"] = name
        return lines

    def delete(self, node):
        del self.workflow[node]

    def finish(self):
        pass
