"""Workflows in API format: {node id: {"class_type", "inputs"}}."""

from .graph import Graph, Input, Output


def is_api(workflow):
    return bool(workflow) and all(
        isinstance(node, dict) and "class_type" in node and "inputs" in node for node in workflow.values()
    )


class APIGraph(Graph):
    """A graph that edits `workflow` in place."""

    def __init__(self, workflow):
        self.workflow = workflow

    def nodes(self):
        return list(self.workflow)

    def kind(self, node):
        return self.workflow[node]["class_type"]

    def mode(self, node):
        return 0

    def links(self):
        ends = [Input(node, name) for node, fields in self.workflow.items() for name in fields["inputs"]]
        pairs = [(self.argument(end.node, end.name), end) for end in ends]
        return [(start, end) for start, end in pairs if isinstance(start, Output)]

    def argument(self, node, name):
        value = self.workflow[node]["inputs"].get(name)
        if isinstance(value, list) and len(value) == 2 and str(value[0]) in self.workflow and isinstance(value[1], int):
            return Output(str(value[0]), value[1])
        return value

    def model_inputs(self, node):
        # The format has no types; "upscale_model" and "model_name" are not wires of a diffusion model.
        names = [name for name in self.sources(node) if name == "model" or name.startswith("model_")]
        return [Input(node, name) for name in names if name != "model_name"]

    def conditioning_outputs(self, node):
        return sorted({start for start, _ in self.links() if start.node == node}, key=lambda output: output.slot)

    def join(self, output, end):
        self.workflow[end.node]["inputs"][end.name] = [output.node, output.slot]

    def add(self, kind, arguments, near, side):
        node = str(max([int(number) for number in self.workflow if number.isdigit()], default=0) + 1)
        self.write(node, kind, arguments)
        return node

    def replace(self, node, kind, arguments):
        self.write(node, kind, arguments)

    def write(self, node, kind, arguments):
        values = dict(zip((name for name, _ in kind.widgets), kind.defaults)) | arguments
        inputs = {
            name: [value.node, value.slot] if isinstance(value, Output) else value
            for name, value in values.items()
            if value is not None
        }
        self.workflow[node] = {"inputs": inputs, "class_type": kind.name, "_meta": {"title": kind.name}}

    def remove(self, node):
        for start, end in self.links():
            if start.node == node:
                del self.workflow[end.node]["inputs"][end.name]
        del self.workflow[node]
