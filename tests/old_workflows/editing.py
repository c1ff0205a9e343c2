"""Changes to the old graphs of the tests, and their conversion."""

import copy

import pytest
from old_graphs import GRAPHS

from old_workflows.convert import convert
from old_workflows.errors import WorkflowError
from old_workflows.workflow_file import graph_of


def other(kind, **inputs):
    return {"class_type": kind, "inputs": inputs}


def with_nodes(name, **nodes):
    return copy.deepcopy(GRAPHS[name]) | {number.removeprefix("n"): fields for number, fields in nodes.items()}


def converted(workflow):
    """(Graph, changes) of a converted workflow."""
    graph = graph_of(workflow, "test")
    return graph, convert(graph)


def refusal(workflow):
    with pytest.raises(WorkflowError) as error:
        converted(workflow)
    return str(error.value)


def add_ui_node(workflow, number, kind, inputs=(), outputs=(), **fields):
    """Adds a node to an editor's workflow; `inputs` are (name, type, (origin, slot)), `outputs` are types."""
    entry = {"id": number, "type": kind, "pos": [0, 900], "size": [100, 40], "mode": 0} | fields
    entry["inputs"] = [{"name": name, "type": wire, "link": None} for name, wire, _ in inputs]
    entry["outputs"] = [{"name": wire, "type": wire, "links": []} for wire in outputs]
    workflow["nodes"].append(entry)
    for name, _, origin in inputs:
        rewire(workflow, number, name, origin)


def rewire(workflow, target, name, origin):
    """Wires the first free input of a name to (origin, slot), or the first of that name where none is free."""
    by_id = {entry["id"]: entry for entry in workflow["nodes"]}
    slots = by_id[target]["inputs"]
    found = [number for number, slot in enumerate(slots) if slot["name"] == name]
    position = next((number for number in found if slots[number]["link"] is None), found[0])
    number = workflow["last_link_id"] = workflow["last_link_id"] + 1
    slots[position]["link"] = number
    by_id[origin[0]]["outputs"][origin[1]]["links"].append(number)
    workflow["links"].append([number, *origin, target, position, slots[position]["type"]])
