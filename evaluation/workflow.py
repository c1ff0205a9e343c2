"""A workflow file as a graph in API format, and what can be asked of its wires."""

from __future__ import annotations

import copy
import json
from graphlib import CycleError, TopologicalSorter

from .errors import EvaluationError

VIRTUAL = {"Note", "MarkdownNote", "PrimitiveNode", "Reroute", "GetNode", "SetNode"}  # the editor's alone
MUTED, BYPASSED = 2, 4


class Workflow:
    """An API graph {node id: {"class_type", "inputs"}} with what a server says of its nodes (`object_info`).

    A link is a pair [node id, output number]; all methods that name a node take its id.
    """

    def __init__(self, graph, object_info):
        self.graph, self.object_info = graph, object_info
        missing = sorted({node["class_type"] for node in graph.values()} - object_info.keys())
        if missing:
            raise_missing(missing)
        try:
            TopologicalSorter({node: self.sources(node) for node in graph}).prepare()
        except CycleError:
            raise EvaluationError("the workflow's wires run in a circle; check it in ComfyUI.") from None

    def info(self, node):
        """What the server says of a node's kind."""
        return self.object_info[self.graph[node]["class_type"]]

    def title(self, node):
        """How a person finds the node: its id, kind and title."""
        kind = self.graph[node]["class_type"]
        title = self.graph[node].get("_meta", {}).get("title", kind)
        return f"{node} ({kind})" if title == kind else f'{node} ({kind} "{title}")'

    def inputs(self, node):
        """The node's inputs by name: values, or links."""
        return self.graph[node]["inputs"]

    def input_type(self, node, name):
        """The declared type of an input ("INT", "CONDITIONING"; "COMBO" for a choice), or None if not declared."""
        spec = self._spec(node, name)
        return ("COMBO" if isinstance(spec[0], list) else spec[0]) if spec else None

    def input_option(self, node, name, option):
        """An option of an input's declaration, "multiline" for example, or None."""
        spec = self._spec(node, name)
        return spec[1].get(option) if spec and len(spec) > 1 and isinstance(spec[1], dict) else None

    def inputs_of(self, node, kind):
        """Names of the inputs that are declared as `kind`, in the order of their declaration, if they are set."""
        declared = self.info(node)["input"]
        names = [name for group in ("required", "optional") for name in declared.get(group) or ()]
        return [name for name in names if name in self.inputs(node) and self.input_type(node, name) == kind]

    def links_of(self, node, kind):
        """{input name: link} of the linked inputs of a type."""
        found = {name: self.inputs(node)[name] for name in self.inputs_of(node, kind)}
        return {name: value for name, value in found.items() if is_link(value, self.graph)}

    def output(self, link):
        """(type, name) of what a link comes from."""
        node, number = link
        info = self.info(node)
        names = info.get("output_name") or info["output"]
        if number >= len(info["output"]):
            return None, ""
        return info["output"][number], names[number]

    def before(self, node):
        """The ids of all nodes that a node depends on, itself first, then the nearest ones."""
        found = [node]
        for one in found:
            found += [source for source in self.sources(one) if source not in found]
        return found

    def sources(self, node):
        """The ids of the nodes that a node is wired to, each once."""
        return list(dict.fromkeys(value[0] for value in self.inputs(node).values() if is_link(value, self.graph)))

    def pruned(self, node):
        """The graph of what a node depends on, and nothing else."""
        return {one: copy.deepcopy(self.graph[one]) for one in sorted(self.before(node), key=list(self.graph).index)}

    def _spec(self, node, name):
        declared = self.info(node)["input"]
        for group in ("required", "optional"):
            spec = (declared.get(group) or {}).get(name)
            if spec:
                return spec
        return None


def is_link(value, graph):
    """Whether an input's value is a link to a node of the graph."""
    return isinstance(value, list) and len(value) == 2 and value[0] in graph and isinstance(value[1], int)


def read_workflow(path):
    """The JSON of a workflow file, in whichever format; EvaluationError where it is none."""
    try:
        with open(path, encoding="utf-8") as file:
            workflow = json.load(file)
    except OSError as error:
        raise EvaluationError(f"{path} can't be read ({error.strerror}); give --workflow a workflow file.") from None
    except ValueError:
        workflow = None
    if not is_editor_format(workflow) and not is_api_format(workflow):
        raise EvaluationError(f"{path} is no ComfyUI workflow; save it with Save or Export (API) in ComfyUI.")
    return workflow


def is_editor_format(workflow):
    """Whether a workflow is as Save writes it."""
    return isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list)


def is_api_format(workflow):
    """Whether a workflow is as Export (API) writes it."""
    return (
        isinstance(workflow, dict)
        and bool(workflow)
        and all(
            isinstance(n, dict) and "class_type" in n and isinstance(n.get("inputs"), dict) for n in workflow.values()
        )
    )


def api_graph(workflow, object_info):
    """The API graph of a workflow in either format; EvaluationError by name where the server lacks a node of it."""
    if is_api_format(workflow):
        return workflow
    subgraphs = (workflow.get("definitions") or {}).get("subgraphs") or []
    nodes = [node for part in (workflow, *subgraphs) for node in part["nodes"]]
    drawn = {node["type"] for node in nodes if node.get("mode") not in (MUTED, BYPASSED)}
    missing = sorted(drawn - object_info.keys() - VIRTUAL - {part["id"] for part in subgraphs})
    if missing:
        raise_missing(missing)
    from comfy_cli.workflow_to_api import WorkflowConversionError, convert_ui_to_api

    try:
        return convert_ui_to_api(workflow, object_info)
    except WorkflowConversionError as error:
        raise EvaluationError(f"the workflow can't be read ({error}); export it with Export (API) instead.") from None


def raise_missing(kinds):
    """The error of a server without these nodes."""
    raise EvaluationError(
        f"the server has no node {', '.join(kinds)}, which the workflow uses; install the pack it comes from there."
    )
