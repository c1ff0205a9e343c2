"""Random graphs and damaged files: each becomes a whole workflow or one sentence, and nothing else.

The seeds are fixed; the option --random-graphs makes the search longer.
"""

import copy
import json
import random
import signal
from contextlib import contextmanager

import pytest
from node_types import NODE_TYPES
from old_graphs import GRAPHS, as_ui

from old_workflows.convert import convert
from old_workflows.errors import WorkflowError
from old_workflows.new_nodes import APPLY
from old_workflows.old_nodes import OLD_NODES, SWITCHES
from old_workflows.workflow_file import convert_file, graph_of

MOST_SECONDS = 20  # of the processor; a case takes milliseconds, and only one without end takes longer
MORE_TYPES = {
    "ConditioningCombine": ("conditioning_1:CONDITIONING conditioning_2:CONDITIONING", "", "CONDITIONING"),
    "PatchWithPrompt": ("model:MODEL positive:CONDITIONING", "", "MODEL positive:CONDITIONING"),
    "ConditioningAverage": ("conditioning_to:CONDITIONING conditioning_from:CONDITIONING", "", "CONDITIONING"),
    "StringConcatenate": ("string_a:STRING string_b:STRING", "", "STRING"),
    "SetNode": ("CONDITIONING:CONDITIONING", "name", "*:*"),
    "GetNode": ("", "name", "CONDITIONING"),
    "Reroute": (":*", "", ":*"),
    SWITCHES[0]: ("x:*", "", "OPT_CONNECTION:*"),
    "T5TextEncode": ("clip:CLIP", "text max_length", "CONDITIONING"),
    "ella_sampler": ("model:MODEL", "", "LATENT"),
    "11111111-2222-3333-4444-555555555555": ("positive:CONDITIONING model:MODEL", "", "LATENT"),
}
TYPES = NODE_TYPES | MORE_TYPES
OFTEN = ("KSampler", "EllaEncode", "EllaApply", "T5TextEncode #ELLA", "SetEllaTimesteps", "ELLALoader")
ODD = (None, True, -1, 0, 1e300, float("nan"), float("inf"), "", "(a:1.3)\nb", "embedding:x", [], [1, 2], ["3", 0])
ODD += ({}, {"0": 1}, {"links": [1]}, "9" * 40, [[]], ["1", 99], ["nowhere", 0], ["1", -1], ["1", 0.5], "\ud800")


@contextmanager
def bounded():
    """Raises TimeoutError in a block that does not end, where the system has signals for that."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        raise TimeoutError("the converter did not end")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, MOST_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def named(pairs):
    """(name, type) of "name:type" or "type" pairs."""
    return [(pair.split(":")[0], pair.split(":")[-1]) for pair in pairs.split()]


def random_graph(rng):
    """{number: (kind, {input: (number, slot)}, {widget: value})}; most wires fit, and some run in circles."""
    size = rng.randint(3, 14)
    kinds = {number: rng.choice(OFTEN if rng.random() < 0.6 else list(TYPES)) for number in range(1, size + 1)}
    outputs = [
        (number, slot, wire) for number, kind in kinds.items() for slot, (_, wire) in enumerate(named(TYPES[kind][2]))
    ]
    forwards = rng.random() < 0.7
    graph = {}
    for number, kind in kinds.items():
        wires = {}
        for name, wire in named(TYPES[kind][0]):
            fitting = [
                (origin, slot)
                for origin, slot, other in outputs
                if (wire in (other, "*") or other == "*") and not (forwards and origin >= number)
            ]
            if fitting and rng.random() < 0.9:
                wires[name] = rng.choice(fitting)
            elif rng.random() < 0.1:
                wires[name] = (rng.randint(0, size + 2), rng.randint(-1, 3))
        widgets = {
            name: rng.choice(ODD) if rng.random() < 0.05 else rng.choice(["a", "(b:1.2)", "normal", 1, 2.5])
            for name in TYPES[kind][1].split()
        }
        wires |= {name: rng.choice(outputs)[:2] for name in widgets if outputs and rng.random() < 0.05}
        graph[number] = (kind, wires, widgets)
    return graph


def as_api_file(graph):
    return {
        str(number): {
            "class_type": kind,
            "inputs": widgets | {name: [str(origin), slot] for name, (origin, slot) in wires.items()},
        }
        for number, (kind, wires, widgets) in graph.items()
    }


def as_editor_file(graph, rng):
    nodes, links = [], []
    for number, (kind, wires, widgets) in graph.items():
        slots = [{"name": name, "type": wire, "link": None} for name, wire in named(TYPES[kind][0])]
        slots += [{"name": name, "type": "*", "widget": {"name": name}} for name in widgets if name in wires]
        for position, slot in enumerate(slots):
            if slot["name"] in wires:
                slot["link"] = len(links) + 1
                origin, output = wires[slot["name"]]
                links.append([slot["link"], origin, output, number, position, slot["type"]])
        values = dict(widgets) if rng.random() < 0.3 else list(widgets.values())
        outputs = [{"name": name, "type": wire, "links": []} for name, wire in named(TYPES[kind][2])]
        place = rng.choice([[number * 400, 0], {"0": number * 400, "1": 0}, None, [None, 3]])
        entry = {"id": number, "type": kind, "pos": place, "mode": rng.choice([0, 0, 0, 0, 0, 0, 2, 4])}
        nodes.append(entry | {"inputs": slots, "outputs": outputs, "widgets_values": values})
    for number, origin, output, *_ in links:
        for entry in nodes:
            if entry["id"] == origin and 0 <= output < len(entry["outputs"]):
                entry["outputs"][output]["links"].append(number)
    subgraph = {"id": "11111111-2222-3333-4444-555555555555", "name": "inner", "nodes": [{"id": 1, "type": "KSampler"}]}
    if rng.random() < 0.2:
        subgraph["nodes"].append({"id": 2, "type": rng.choice(["EllaEncode", subgraph["id"]])})
    return {"nodes": nodes, "links": links, "definitions": {"subgraphs": [subgraph]}, "groups": [], "version": 0.4}


def with_all_fields(workflow):
    """An editor's workflow with the fields that only some have."""
    inner = {"id": 3, "type": "T5TextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": 1}], "properties": {}}
    instance = {"id": 90, "type": "a-b", "pos": [0, 900], "size": [10, 10], "inputs": [], "outputs": []}
    workflow["nodes"].append(instance)
    return workflow | {
        "definitions": {"subgraphs": [{"id": "a-b", "name": "inner", "nodes": [inner], "links": []}]},
        "groups": [{"title": "all", "bounding": [-10, -80, 9000, 400]}],
        "extra": {
            "linkExtensions": [{"id": number, "parentId": 1} for number in range(1, 9)],
            "reroutes": [{"id": 1, "pos": [10, 10], "linkIds": [1, 2, 3, 4]}],
            "groupNodes": {"x": {"nodes": [{"type": "KSampler"}], "links": []}},
        },
    }


def damaged(workflow, rng):
    """A workflow with one to three of its values gone or replaced by odd ones."""
    workflow = copy.deepcopy(workflow)
    for _ in range(rng.randint(1, 3)):
        place = workflow
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = rng.choice(keys)
            if isinstance(place[key], (dict, list)) and rng.random() < 0.8:
                place = place[key]
                continue
            if rng.random() < 0.3:
                del place[key]
            else:
                place[key] = copy.deepcopy(rng.choice(ODD))
            break
    return workflow


def wired_inputs(graph, nodes):
    """{node: names of its wired inputs}"""
    return {node: set(graph.sources(node)) for node in nodes}


def check_outcome(workflow, folder):
    """Converts a workflow and returns whether it was converted; asserts what holds of every outcome."""
    source, target = folder / "old.json", folder / "new.json"
    source.write_text(json.dumps(workflow))
    target.unlink(missing_ok=True)
    try:
        with bounded():
            lines = convert_file(source, target)
    except WorkflowError as error:
        sentence = str(error)
        assert sentence.endswith(".") and "\n" not in sentence and len(sentence) <= 400, sentence
        assert [path.name for path in folder.iterdir()] == ["old.json"]
        return False
    assert lines and all("\n" not in line for line in lines)
    result = json.loads(target.read_text(), parse_constant=pytest.fail)
    if not result:  # it held nothing but old nodes that nothing used
        return True
    graph = graph_of(result, "new")
    assert graph.of_kinds(OLD_NODES) == []
    before = graph_of(json.loads(source.read_text(), parse_constant=lambda _: None), "old")
    for node in set(before.nodes()) & set(graph.nodes()):
        if before.kind(node) == graph.kind(node) and graph.kind(node) not in (*SWITCHES, "Reroute", APPLY.name):
            assert set(graph.sources(node)) == set(before.sources(node))
    check_links(result, before.workflow)
    with pytest.raises(WorkflowError):
        convert(graph)
    return True


def check_links(result, before):
    """Asserts that the new links of an editor's workflow and its slots name each other."""
    if "nodes" not in result:
        return
    nodes = {entry["id"]: entry for entry in result["nodes"]}
    old = [link[0] for link in before["links"] if link is not None]
    for number, origin, output, target, position, *_ in result["links"]:
        if number not in old:
            assert nodes[target]["inputs"][position]["link"] == number
            assert number in nodes[origin]["outputs"][output]["links"]


@pytest.fixture
def cases(request):
    return request.config.getoption("--random-graphs", default=400)


@pytest.mark.parametrize("form", ["api", "ui"])
def test_random_wirings(form, cases, tmp_path):
    converted = 0
    for seed in range(cases):
        rng = random.Random(seed)
        graph = random_graph(rng)
        converted += check_outcome(as_api_file(graph) if form == "api" else as_editor_file(graph, rng), tmp_path)
    assert converted >= cases // 100


def overlaps(nodes):
    """The pairs of nodes of which one lies over the other."""
    ends = [[place + size for place, size in zip(entry["pos"], entry["size"])] for entry in nodes]
    return [
        (one, two)
        for one in range(len(nodes))
        for two in range(one)
        if all(
            nodes[one]["pos"][axis] < ends[two][axis] and nodes[two]["pos"][axis] < ends[one][axis] for axis in (0, 1)
        )
    ]


def test_no_node_comes_to_lie_over_another(cases):
    for seed in range(cases):
        rng = random.Random(seed)
        workflow = as_ui(GRAPHS[rng.choice(list(GRAPHS))])
        cells = rng.sample([(x, y) for x in range(6) for y in range(6)], len(workflow["nodes"]))
        for entry, cell in zip(workflow["nodes"], cells):
            entry["size"] = [rng.randint(50, 400), rng.randint(50, 400)]
            entry["pos"] = [500 * cell[axis] + rng.randint(0, 100) for axis in (0, 1)]
        assert overlaps(workflow["nodes"]) == []
        convert(graph_of(workflow, "test"))
        assert overlaps(workflow["nodes"]) == []


@pytest.mark.parametrize("form", ["api", "ui"])
def test_damaged_workflows(form, cases, tmp_path):
    converted = 0
    for seed in range(cases):
        rng = random.Random(seed)
        workflow = GRAPHS[rng.choice(list(GRAPHS))]
        if form == "ui":
            workflow = with_all_fields(as_ui(workflow))
        converted += check_outcome(damaged(workflow, rng), tmp_path)
    assert cases // 5 <= converted < cases
