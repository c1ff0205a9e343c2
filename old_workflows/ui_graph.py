"""Workflows as ComfyUI's editor saves them: a list of nodes with places and slots, and a list of links."""

from .errors import WorkflowError
from .graph import REROUTE, Graph, Input, Output
from .old_nodes import OLD_NODES, OLD_WIDGETS

OPTIONAL_SHAPE = 7
GAP = 60
KEPT = ("id", "pos", "size", "flags", "order", "mode", "color", "bgcolor")


def is_ui(workflow):
    return isinstance(workflow.get("nodes"), list) and isinstance(workflow.get("links"), list)


def check_form(workflow):
    """Raises WorkflowError for what can't be edited: old nodes inside subgraphs and group nodes, other link forms."""
    if not all(isinstance(link, list) and len(link) >= 6 for link in workflow["links"]):
        raise WorkflowError(
            "The workflow's links are in another form than version 0.4 of the format, which this command reads; open "
            "it in ComfyUI and save it again."
        )
    subgraphs = (workflow.get("definitions") or {}).get("subgraphs") or []
    inner = [("a subgraph", "unpack it", subgraph["nodes"]) for subgraph in subgraphs]
    groups = (workflow.get("extra") or {}).get("groupNodes") or {}
    inner += [("a group node", "convert it to nodes", group["nodes"]) for group in groups.values()]
    for place, remedy, nodes in inner:
        found = [node["type"] for node in nodes if node.get("type") in OLD_NODES]
        if found:
            raise WorkflowError(
                f"{found[0]} lies inside {place}, which this command can't rewire; {remedy} in ComfyUI, save, and try "
                "again."
            )


def xy(pair):
    """[x, y] of a place or a size, which older editors saved as {"0": x, "1": y}."""
    return [pair["0"], pair["1"]] if isinstance(pair, dict) else list(pair)


class UIGraph(Graph):
    """A graph that edits `workflow` in place; what it doesn't touch stays as it was."""

    def __init__(self, workflow):
        check_form(workflow)
        self.workflow = workflow
        self.by_id = {node["id"]: node for node in workflow["nodes"]}

    def nodes(self):
        return list(self.by_id)

    def kind(self, node):
        return self.by_id[node]["type"]

    def mode(self, node):
        return self.by_id[node].get("mode", 0)

    def links(self):
        table = {link[0]: link for link in self.workflow["links"]}
        pairs = []
        for node, fields in self.by_id.items():
            for slot in fields.get("inputs") or []:
                link = table.get(slot.get("link"))
                if link is not None and link[1] in self.by_id:
                    pairs.append((Output(link[1], link[2]), Input(node, slot["name"])))
        return pairs

    def argument(self, node, name):
        wired = self.sources(node).get(name)
        if wired is not None:
            return wired
        names = OLD_WIDGETS.get(self.kind(node), ())
        values = self.by_id[node].get("widgets_values") or []
        return dict(zip(names, values)).get(name)

    def model_inputs(self, node):
        wired = self.sources(node)
        slots = self.by_id[node].get("inputs") or []
        return [Input(node, slot["name"]) for slot in slots if slot["type"] == "MODEL" and slot["name"] in wired]

    def conditioning_outputs(self, node):
        slots = enumerate(self.by_id[node].get("outputs") or [])
        return [
            Output(node, number)
            for number, slot in slots
            if slot["type"] in ("CONDITIONING", "*") or self.kind(node) == REROUTE
        ]

    def join(self, output, end):
        self.disconnect(end)
        number = max([self.workflow.get("last_link_id", 0), *(link[0] for link in self.workflow["links"])]) + 1
        position, slot = self.input_slot(end)
        outgoing = self.by_id[output.node]["outputs"][output.slot]
        slot["link"] = number
        outgoing["links"] = [*(outgoing.get("links") or []), number]
        self.workflow["links"].append([number, output.node, output.slot, end.node, position, outgoing["type"]])
        self.workflow["last_link_id"] = number

    def input_slot(self, end):
        """(position, slot) of an input."""
        return next(
            (number, slot) for number, slot in enumerate(self.by_id[end.node]["inputs"]) if slot["name"] == end.name
        )

    def disconnect(self, end):
        _, slot = self.input_slot(end)
        number, slot["link"] = slot.get("link"), None
        if number is None:
            return
        for node in self.by_id.values():
            for outgoing in node.get("outputs") or []:
                if number in (outgoing.get("links") or []):
                    outgoing["links"].remove(number)
        self.workflow["links"][:] = [link for link in self.workflow["links"] if link[0] != number]
        self.forget_reroutes(number)

    def forget_reroutes(self, number):
        """Takes a link out of the editor's own list of the dots that its wires run through."""
        extra = self.workflow.get("extra") or {}
        if "linkExtensions" in extra:
            extra["linkExtensions"] = [entry for entry in extra["linkExtensions"] if entry["id"] != number]
        for dot in extra.get("reroutes") or []:
            dot["linkIds"] = [link for link in dot.get("linkIds") or [] if link != number]

    def add(self, kind, arguments, near, side):
        numbers = [node for node in self.by_id if isinstance(node, int)]
        number = max([self.workflow.get("last_node_id", 0), *numbers]) + 1
        self.workflow["last_node_id"] = number
        place = {
            "id": number,
            "pos": self.place(near, side, kind.size),
            "size": list(kind.size),
            "flags": {},
            "order": len(self.by_id),
        }
        node = place | {"mode": self.mode(near)} | new_slots(kind, arguments)
        self.by_id[number] = node
        self.workflow["nodes"].append(node)
        self.wire(number, arguments)
        return number

    def place(self, near, side, size):
        """Where a new node goes: over the one that it stands in for, below or right of it; what is in its way moves."""
        node = self.by_id[near]
        (x, y), (width, height) = xy(node["pos"]), xy(node["size"])
        if side == "below":
            self.make_room(1, y + height, size[1] + GAP)
            return [x, y + height + GAP]
        if side == "right":
            self.make_room(0, x + width, size[0] + GAP)
            return [x + width + GAP, y]
        self.make_room(0, x + width, max(size[0] - width, 0))
        self.make_room(1, y + height, max(size[1] - height, 0))
        return [x, y]

    def make_room(self, axis, edge, amount):
        """Moves what lies beyond an edge on the x (0) or the y axis (1), and widens the groups across it."""
        for node in self.by_id.values():
            node["pos"] = xy(node["pos"])
            if node["pos"][axis] >= edge:
                node["pos"][axis] += amount
        for group in self.workflow.get("groups") or []:
            bounds = group["bounding"]
            if bounds[axis] >= edge:
                bounds[axis] += amount
            elif bounds[axis] + bounds[axis + 2] > edge:
                bounds[axis + 2] += amount

    def replace(self, node, kind, arguments):
        fields = self.by_id[node]
        for slot in fields.get("inputs") or []:
            self.disconnect(Input(node, slot["name"]))
        outgoing = [slot.get("links") for slot in fields.get("outputs") or []]
        kept = {key: fields[key] for key in KEPT if key in fields}
        if fields.get("title") not in (None, fields["type"]):
            kept["title"] = fields["title"]
        fields.clear()
        fields.update(kept | new_slots(kind, arguments))
        for slot, numbers in zip(fields["outputs"], outgoing):
            slot["links"] = numbers or []
            for link in self.workflow["links"]:
                if link[0] in slot["links"]:
                    link[5] = slot["type"]
        self.wire(node, arguments)

    def wire(self, node, arguments):
        for name, value in arguments.items():
            if isinstance(value, Output):
                self.join(value, Input(node, name))

    def remove(self, node):
        ends = [end for start, end in self.links() if start.node == node]
        for end in ends + [Input(node, slot["name"]) for slot in self.by_id[node].get("inputs") or []]:
            self.disconnect(end)
        self.workflow["nodes"].remove(self.by_id.pop(node))


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
