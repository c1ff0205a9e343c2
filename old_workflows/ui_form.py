"""What a workflow of the editor must be built like to be rewired, and what lies inside its subgraphs."""

from .errors import WorkflowError
from .old_nodes import OLD_NODES
from .quote import quote


def is_ui(workflow):
    return isinstance(workflow.get("nodes"), list) and isinstance(workflow.get("links"), list)


def check_form(workflow):
    """Raises WorkflowError where nodes and links are not what ComfyUI saves."""
    if not all(link is None or isinstance(link, list) and len(link) >= 6 for link in workflow["links"]):
        raise WorkflowError(
            "The workflow's links are in another form than version 0.4 of the format, which this command reads; open "
            "it in ComfyUI and save it again."
        )
    found = next((fault for fault in faults(workflow) if fault), None)
    if found:
        raise WorkflowError(
            f"The workflow is not built as ComfyUI saves workflows, since {found}; open it in ComfyUI and save it "
            "again."
        )


def faults(workflow):
    """What is wrong with the form, one by one, as the middle of a sentence."""
    seen = set()
    for link in workflow["links"]:
        if link is not None:
            yield fault_of_link(link, seen)
    seen, claimed = set(), set()
    for node in workflow["nodes"]:
        yield fault_of_node(node, seen) or fault_of_slots(node, claimed)
    if not isinstance(workflow.get("extra") or {}, dict) or not isinstance(workflow.get("definitions") or {}, dict):
        yield "its extra or its definitions are no table"


def is_id(value):
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def fault_of_link(link, seen):
    number, origin, output, target = link[:4]
    if not (is_id(number) and is_id(origin) and is_id(target) and isinstance(output, int)):
        return f"its link {quote(number)} says {quote(link[1:5])}"
    if number in seen:
        return f"two links have the number {quote(number)}"
    seen.add(number)
    return None


def fault_of_node(node, seen):
    if not isinstance(node, dict) or not is_id(node.get("id")):
        return "one of its nodes has no id"
    if node["id"] in seen:
        return f"two nodes have the id {quote(node['id'])}"
    seen.add(node["id"])
    if not isinstance(node.get("type"), str):
        return f"node {quote(node['id'])} has no type"
    return None


def fault_of_slots(node, claimed):
    inputs, outputs = node.get("inputs") or [], node.get("outputs") or []
    for slots in (inputs, outputs):
        if not isinstance(slots, list) or not all(isinstance(slot, dict) for slot in slots):
            return f"the inputs or outputs of node {quote(node['id'])} are no list of slots"
    for slot in inputs:
        link = slot.get("link")
        if not isinstance(slot.get("name"), str) or not (link is None or is_id(link)):
            return f"an input of node {quote(node['id'])} has no name or no number of a link"
        if link in claimed:
            return f"two inputs have the link {quote(link)}"
        if link is not None:
            claimed.add(link)
    if not all(isinstance(slot.get("links") or [], list) for slot in outputs):
        return f"the links of an output of node {quote(node['id'])} are no list"
    return None


def subgraphs_of(workflow):
    """{id: subgraph} of the definitions that are built like one."""
    found = (workflow.get("definitions") or {}).get("subgraphs")
    entries = [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []
    return {entry["id"]: entry for entry in entries if isinstance(entry.get("id"), str)}


def group_nodes_of(workflow):
    """{node type: group node}; the two separators are those that the editor has used."""
    found = (workflow.get("extra") or {}).get("groupNodes")
    entries = found.items() if isinstance(found, dict) else ()
    return {f"workflow{mark}{name}": entry for name, entry in entries if isinstance(entry, dict) for mark in "/>"}


def inner_nodes(entry):
    """The nodes of a subgraph or a group node, those that have a type."""
    nodes = entry.get("nodes")
    found = nodes if isinstance(nodes, list) else []
    return [node for node in found if isinstance(node, dict) and isinstance(node.get("type"), str)]


def name_of(subgraph):
    return f'the subgraph "{quote(subgraph.get("name") or subgraph["id"])}"'


def check_inside(workflow):
    """Raises WorkflowError for old nodes inside subgraphs and group nodes that the workflow uses, at any depth."""
    subgraphs, groups = subgraphs_of(workflow), group_nodes_of(workflow)
    waiting, seen = [("", workflow)], set()
    while waiting:
        place, entry = waiting.pop()
        for node in inner_nodes(entry):
            kind = node["type"]
            if place and kind in OLD_NODES:
                remedy = "convert it to nodes" if place.startswith("the group node") else "unpack it"
                raise WorkflowError(
                    f"{kind} (node {quote(node.get('id'), 20)}) lies inside {place}, which this command can't rewire; "
                    f"{remedy} in ComfyUI, save, and try again."
                )
            if kind in seen:
                continue
            seen.add(kind)
            if kind in subgraphs:
                outer = f" in {place}" if place else ""
                waiting.append((quote(name_of(subgraphs[kind]) + outer, 160), subgraphs[kind]))
            elif kind in groups:
                waiting.append((f'the group node "{quote(kind[len("workflow/") :])}"', groups[kind]))
