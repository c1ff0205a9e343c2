"""Workflows as ComfyUI's editor saves them: a list of nodes with places and slots, and a list of links."""

from .core_nodes import WIDGETS
from .graph import REROUTES, Graph
from .old_nodes import OLD_TITLES, OLD_WIDGETS
from .quote import quote
from .ui_form import check_form, check_inside, inner_nodes, is_id, name_of, subgraphs_of
from .ui_layout import Layout
from .wires import Input, Output

OPTIONAL_SHAPE = 7
KEPT = ("id", "pos", "size", "flags", "order", "mode", "color", "bgcolor")
TEXT_TYPES = ("STRING", "*")


class UIGraph(Graph):
    """A graph that edits `workflow` in place; what it doesn't touch stays as it was."""

    def __init__(self, workflow):
        super().__init__()
        check_form(workflow)
        self.workflow = workflow
        self.by_id = {node["id"]: node for node in workflow["nodes"]}
        self.links = {link[0]: link for link in workflow["links"] if link is not None}
        self.slots = {}  # Input -> its slot in the file
        self.ends = {}  # node -> its Inputs in the order of their slots
        self.erased = set()
        self.touched = {}  # Output -> the numbers of its new links
        self.subgraphs = subgraphs_of(workflow)
        self.layout = Layout(self.by_id)
        taken = [node for link in self.links.values() for node in (link[1], link[3])]  # also by links that are broken
        numbers = [number for number in (workflow.get("last_node_id"), *self.by_id, *taken) if isinstance(number, int)]
        self.last_node = max(numbers, default=0)
        for node in self.by_id:
            self.read_wires(node)
        taken = [*self.links, *(slot.get("link") for slot in self.slots.values())]  # also where its link is gone
        numbers = [number for number in (workflow.get("last_link_id"), *taken) if isinstance(number, int)]
        self.last_link = max(numbers, default=0)
        self.set_nodes = {self.variable(node): node for node in self.of_kinds(("SetNode",))}

    def read_wires(self, node):
        """Fills `slots`, `wires` and `broken` with the inputs of a node."""
        self.ends[node] = []
        for slot in self.by_id[node].get("inputs") or []:
            end = Input(node, slot["name"])
            while end in self.slots:
                end = Input(node, slot["name"], end.number + 1)
            self.slots[end] = slot
            self.ends[node].append(end)
            link = self.links.get(slot.get("link"))
            if link is None:
                continue
            start = Output(link[1], link[2])
            if start.node in self.by_id and 0 <= start.slot < len(self.by_id[start.node].get("outputs") or []):
                self.wires.add(start, end)
            else:
                self.broken.append((end, start))

    def variable(self, node):
        """The name under which a SetNode keeps its value and a GetNode asks for it."""
        return quote(next(iter(self.widget_values(node).values()), None))

    def check_inside(self):
        check_inside(self.workflow)

    def nodes(self):
        return list(self.by_id)

    def has(self, node):
        return node in self.by_id

    def kind(self, node):
        return self.by_id[node]["type"]

    def label(self, node):
        if self.kind(node) in self.subgraphs:
            return f"{name_of(self.subgraphs[self.kind(node)])} (node {quote(node, 20)})"
        return super().label(node)

    def mode(self, node):
        return self.by_id[node].get("mode", 0)

    def input_names(self, node):
        return [slot["name"] for slot in self.by_id[node].get("inputs") or []]

    def widget_values(self, node):
        """{name: value} of the widgets; the name is a number where nothing tells it."""
        values = self.by_id[node].get("widgets_values")
        if isinstance(values, dict):
            return values
        names = OLD_WIDGETS.get(self.kind(node)) or WIDGETS.get(self.kind(node)) or ()
        slots = self.by_id[node].get("inputs") or []
        saved = [field(slot["widget"], "name") for slot in slots if "widget" in slot]
        if sorted(map(str, saved)) == sorted(
            names
        ):  # newer editors save a slot for each widget, in the order of the values
            names = saved
        values = values if isinstance(values, list) else []
        return {names[number] if number < len(names) else number: value for number, value in enumerate(values)}

    def value(self, node, name):
        return self.widget_values(node).get(name)

    def texts(self, node):
        return [value for value in self.widget_values(node).values() if isinstance(value, str)]

    def text_inputs(self, node):
        if self.kind(node) == "GetNode":
            node = self.set_nodes.get(self.variable(node), node)
            return list(self.wires.into(node))
        return [end for end in self.wires.into(node) if self.slots[end].get("type") in TEXT_TYPES]

    def model_inputs(self, node):
        return [end for end in self.wires.into(node) if self.slots[end].get("type") == "MODEL"]

    def conditioning_outputs(self, node):
        wired = self.wires.outputs(node)
        if self.kind(node) in REROUTES:
            return wired
        return [output for output in wired if self.output_slot(output).get("type") in ("CONDITIONING", "*")]

    def takes_conditioning(self, end):
        return True

    def output_slot(self, output):
        """An output of a node in the file; an old node may have been saved before its pack gave it all of them."""
        fields = self.by_id[output.node]
        slots = fields["outputs"] = fields.get("outputs") or []
        slots += [
            {"name": "CONDITIONING", "type": "CONDITIONING", "links": []} for _ in range(len(slots), output.slot + 1)
        ]
        return slots[output.slot]

    def draw(self, output, end):
        if end not in self.slots:
            self.slots[end] = {"name": end.name, "type": self.output_slot(output).get("type"), "link": None}
            self.by_id[end.node].setdefault("inputs", []).append(self.slots[end])
            self.ends[end.node].append(end)
        self.erase(end)
        self.last_link += 1
        position = self.ends[end.node].index(end)
        self.slots[end]["link"] = self.last_link
        kind = self.output_slot(output).get("type")
        self.links[self.last_link] = [self.last_link, output.node, output.slot, end.node, position, kind]
        self.touched.setdefault(output, []).append(self.last_link)

    def erase(self, end):
        number, self.slots[end]["link"] = self.slots[end].get("link"), None
        if number in self.links:
            _, origin, output = self.links.pop(number)[:3]
            self.erased.add(number)
            self.touched.setdefault(Output(origin, output), [])

    def add(self, kind, arguments, near, side):
        self.last_node += 1
        number = self.last_node
        place = {"id": number, "pos": [0, 0], "size": list(kind.size), "flags": {}, "order": len(self.by_id)}
        self.by_id[number] = place | {"mode": self.mode(near)} | new_slots(kind, arguments)
        self.layout.put(number, kind.size, near, side)
        self.read_wires(number)
        self.wire(number, arguments)
        return number

    def replace(self, node, kind, arguments):
        fields = self.by_id[node]
        for end in self.ends[node]:
            self.cut(end)
            del self.slots[end]
        outgoing = [slot.get("links") for slot in fields.get("outputs") or []]
        kept = {key: fields[key] for key in KEPT if key in fields}
        if fields.get("title") not in (None, fields["type"], OLD_TITLES.get(fields["type"])):
            kept["title"] = fields["title"]
        fields.clear()
        fields.update(kept | new_slots(kind, arguments))
        for slot, numbers in zip(fields["outputs"], outgoing):
            slot["links"] = numbers or []
        for output in self.wires.outputs(node):
            for end in self.consumers(output):
                self.links[self.slots[end]["link"]][5] = self.output_slot(output)["type"]
        self.read_wires(node)
        self.wire(node, arguments)

    def rename(self, kind, name):
        places = [("", self.workflow), *((f" in {name_of(entry)}", entry) for entry in self.subgraphs.values())]
        lines = []
        for place, entry in places:
            for node in inner_nodes(entry):
                slots = node.get("inputs")
                names = [field(slot, "name") for slot in slots] if isinstance(slots, list) else []
                if node["type"] == kind and "clip" in names:
                    lines.append(f"{kind} (node {quote(node.get('id'), 20)}){place} became {name}")
                    node["type"] = name
                    properties = node.get("properties")
                    if isinstance(properties, dict) and properties.get("Node name for S&R") == kind:
                        properties["Node name for S&R"] = name
        return lines

    def delete(self, node):
        del self.by_id[node]

    def finish(self):
        self.workflow["nodes"][:] = self.by_id.values()
        self.workflow["links"][:] = self.links.values()
        self.workflow["last_node_id"], self.workflow["last_link_id"] = self.last_node, self.last_link
        for output, numbers in self.touched.items():
            outputs = self.by_id[output.node].get("outputs") or [] if output.node in self.by_id else []
            if 0 <= output.slot < len(outputs):
                slot = outputs[output.slot]
                kept = [number for number in slot.get("links") or [] if is_id(number) and number not in self.erased]
                slot["links"] = kept + [number for number in numbers if number in self.links]
        forget_dots(self.workflow.get("extra") or {}, self.erased)
        groups = self.workflow.get("groups")
        self.layout.settle(groups if isinstance(groups, list) else [])


def forget_dots(extra, erased):
    """Takes links out of the editor's own lists of the dots that its wires run through."""

    def is_left(number):
        return not (is_id(number) and number in erased)

    extensions, dots = extra.get("linkExtensions"), extra.get("reroutes")
    if isinstance(extensions, list):
        extra["linkExtensions"] = [entry for entry in extensions if is_left(field(entry, "id"))]
    for dot in dots if isinstance(dots, list) else ():
        if isinstance(field(dot, "linkIds"), list):
            dot["linkIds"] = list(filter(is_left, dot["linkIds"]))


def field(entry, name):
    return entry.get(name) if isinstance(entry, dict) else None


def new_slots(kind, arguments):
    """The fields of a node that follow from its type and its widgets' values."""
    inputs = [{"name": name, "type": wire, "link": None} for name, wire in kind.inputs]
    for slot in inputs:
        if slot["name"] in kind.optional:
            slot["shape"] = OPTIONAL_SHAPE
    inputs += [{"name": name, "type": wire, "widget": {"name": name}, "link": None} for name, wire in kind.widgets]
    values = []
    for (name, _), default in zip(kind.widgets, kind.defaults):
        value = arguments.get(name)
        values.append(default if value is None or isinstance(value, Output) else value)
    return {
        "type": kind.name,
        "inputs": inputs,
        "outputs": [{"name": name, "type": wire, "links": []} for name, wire in kind.outputs],
        "properties": {"Node name for S&R": kind.name, "cnr_id": kind.pack},
        "widgets_values": values,
    }
