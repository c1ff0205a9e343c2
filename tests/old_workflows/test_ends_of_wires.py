"""Where the wires of old workflows end: before a sampler, in subgraphs, in other packs' nodes, nowhere."""

import copy

import pytest
from editing import add_ui_node, converted, other, refusal, rewire, with_nodes
from old_graphs import GRAPHS, LORA, as_ui, node, sampler

from old_workflows.new_nodes import APPLY, EARLIER_T5_TEXT_ENCODE, T5_TEXT_ENCODE
from old_workflows.old_nodes import OLD_NODES, SWITCHES

SUBGRAPH = "11111111-2222-3333-4444-555555555555"

# ---- dead ends


def set_get(source):
    """`encode` whose positive also goes to a SetNode, from `source`, and from a GetNode to a second sampler."""
    workflow = as_ui(GRAPHS["encode"] | {"15": sampler("1:0", "13:0", "14:0")})
    add_ui_node(workflow, 16, "SetNode", [("CONDITIONING", "CONDITIONING", source)], ["*"], widgets_values=["pos"])
    add_ui_node(workflow, 17, "GetNode", (), ["CONDITIONING"], widgets_values=["pos"])
    rewire(workflow, 15, "positive", (17, 0))
    return workflow


def test_a_set_node_beside_a_sampler_is_refused():
    message = refusal(set_get((13, 0)))
    assert "No sampler was found behind SetNode (node 16)" in message and "EllaEncode (node 13)" in message


def test_a_set_node_behind_other_nodes_is_refused():
    workflow = as_ui(GRAPHS["controlnet"])
    add_ui_node(workflow, 16, "SetNode", [("CONDITIONING", "CONDITIONING", (13, 0))], ["*"], widgets_values=["pos"])
    assert "No sampler was found behind SetNode (node 16)" in refusal(workflow)


@pytest.mark.parametrize("source", ["13", "20"])
def test_a_node_that_keeps_a_conditioning_is_refused_in_api_format(source):
    combined = other("ConditioningCombine", conditioning_1=["13", 0], conditioning_2=["14", 0])
    keeper = other("KeepConditioning", conditioning=[source, 0])
    workflow = with_nodes("encode", n20=combined, n21=keeper, n7=sampler("1:0", "20:0", "14:0"))
    assert "No sampler was found behind KeepConditioning (node 21)" in refusal(workflow)


def test_other_outputs_of_a_node_between_are_no_dead_end():
    area = other("AreaWithInfo", conditioning=["13", 0])
    workflow = with_nodes("encode", n20=area, n21=other("ShowText", text=["20", 1]), n7=sampler("1:0", "20:0", "14:0"))
    graph, _ = converted(workflow)
    assert graph.workflow["21"]["inputs"] == {"text": ["20", 1]}


def test_a_reroute_with_nothing_behind_it_is_no_dead_end():
    workflow = as_ui(GRAPHS["encode"])
    add_ui_node(workflow, 16, "Reroute", [("", "*", (13, 0))], ["CONDITIONING"])
    assert converted(workflow)[0].of_kinds((APPLY.name,))


# ---- subgraphs


def with_subgraph(inner, used=True, inputs=()):
    workflow = as_ui(GRAPHS["encode"])
    workflow["definitions"] = {"subgraphs": [{"id": SUBGRAPH, "name": "old ella", "nodes": inner, "links": []}]}
    if used:
        add_ui_node(workflow, 30, SUBGRAPH, inputs)
    return workflow


def test_a_subgraph_that_nothing_uses_is_ignored():
    graph, _ = converted(with_subgraph([{"id": 1, "type": "EllaEncode"}], used=False))
    assert graph.of_kinds(OLD_NODES) == [] and graph.workflow["definitions"]["subgraphs"][0]["name"] == "old ella"


def test_a_subgraph_that_holds_old_nodes_is_named():
    assert 'EllaEncode (node 1) lies inside the subgraph "old ella"' in refusal(
        with_subgraph([{"id": 1, "type": "EllaEncode"}])
    )


def test_a_subgraph_inside_another_and_one_inside_itself():
    workflow = with_subgraph([{"id": 1, "type": "inner"}, {"id": 2, "type": SUBGRAPH}])
    workflow["definitions"]["subgraphs"].append({"id": "inner", "name": "more", "nodes": []})
    assert converted(copy.deepcopy(workflow))[0].of_kinds((APPLY.name,))
    workflow["definitions"]["subgraphs"][1]["nodes"] = [{"id": 7, "type": "SetEllaTimesteps"}]
    assert 'inside the subgraph "more" in the subgraph "old ella"' in refusal(workflow)


def test_a_subgraph_behind_a_conditioning_is_named():
    workflow = with_subgraph([], inputs=[("positive", "CONDITIONING", (13, 0))])
    assert 'No sampler was found behind the subgraph "old ella" (node 30)' in refusal(workflow)


def test_a_subgraph_that_takes_the_model_as_well_is_sampled_with():
    inputs = [("model", "MODEL", (1, 0)), ("positive", "CONDITIONING", (13, 0)), ("negative", "CONDITIONING", (14, 0))]
    graph, changes = converted(with_subgraph([], inputs=inputs))
    assert graph.kind(graph.sources(30)["model"].node) == APPLY.name
    assert any('before KSampler (node 7), the subgraph "old ella" (node 30)' in line for line in changes)


# ---- wires that need a word


@pytest.mark.parametrize("kind", SWITCHES)
def test_wires_to_nodes_that_switch_others_are_dropped(kind):
    workflow = as_ui(GRAPHS["encode"])
    inputs = [("ELLA", "*", (2, 0)), ("ELLA", "*", (13, 0)), ("LATENT", "*", (8, 0))]
    add_ui_node(workflow, 16, kind, inputs, ["*"])
    graph, changes = converted(workflow)
    assert [start.node for start in graph.wires.into(16).values()] == [8]
    assert sum(kind in line for line in changes) == 2
    assert graph.kind(graph.sources(7)["positive"].node) == APPLY.name


def test_a_wire_from_a_slot_that_an_old_node_lacks_is_refused():
    message = refusal(with_nodes("encode", n7=sampler("1:0", "13:1", "14:0")))
    assert "KSampler (node 7) gets its positive from output 1 of EllaEncode (node 13), which does not exist" in message
    message = refusal(with_nodes("encode", n13=node("EllaEncode", ella="99:0", embeds="4:0")))
    assert "EllaEncode (node 13) gets its ella from output 0 of node 99" in message
    workflow = as_ui(GRAPHS["encode"])
    next(link for link in workflow["links"] if link[1] == 13)[2] = 5
    assert "output 5 of EllaEncode (node 13)" in refusal(workflow)


def test_a_broken_wire_elsewhere_is_reported_and_leads_to_no_new_node():
    workflow = with_nodes("encode", n10=node("SaveImage", images="15:0", filename_prefix="old"))
    graph, changes = converted(workflow)
    assert "SaveImage (node 10) gets its images from output 0 of node 15, which does not exist; wire it anew" in changes
    assert "15" not in graph.workflow and graph.workflow["10"]["inputs"]["images"] == ["15", 0]


def test_the_number_of_a_link_that_is_gone_is_not_given_to_a_new_one():
    workflow = as_ui(GRAPHS["encode"])
    gone = next(entry for entry in workflow["nodes"] if entry["id"] == 10)["inputs"][0]
    workflow["links"] = [link for link in workflow["links"] if link[0] != gone["link"]]
    gone["link"] = workflow["last_link_id"] + 1
    graph, _ = converted(workflow)
    assert graph.sources(10) == {} and gone["link"] not in [link[0] for link in graph.workflow["links"]]


def test_two_numbers_in_a_widget_are_no_wire():
    graph, _ = converted(with_nodes("encode", n20=other("Crop", size=[4, 0])))
    assert graph.workflow["20"]["inputs"] == {"size": [4, 0]}


# ---- this pack's own earlier type


OURS = other(EARLIER_T5_TEXT_ENCODE, clip=["3", 0], text="a fox", max_length=0)
THEIRS = other(EARLIER_T5_TEXT_ENCODE, T5=["3", 0], text="a fox")


def test_the_earlier_type_of_our_text_encode_is_led_to_the_new_one():
    graph, changes = converted({"1": copy.deepcopy(OURS), "3": LORA, "4": copy.deepcopy(THEIRS)})
    assert graph.workflow["1"] == OURS | {"class_type": T5_TEXT_ENCODE.name} and graph.workflow["4"] == THEIRS
    assert changes == [f"T5TextEncode (node 1) became {T5_TEXT_ENCODE.name}"]


def test_a_graph_with_another_pack_s_node_of_that_type_alone_is_left_alone():
    assert "nothing to convert" in refusal({"3": LORA, "4": copy.deepcopy(THEIRS)})


def test_the_earlier_type_is_found_in_the_editor_s_format_and_in_subgraphs():
    entry = {"id": 4, "type": "T5TextEncode", "inputs": [{"name": "clip", "type": "CLIP", "link": None}]}
    theirs = {"id": 5, "type": "T5TextEncode", "inputs": [{"name": "T5", "type": "T5", "link": None}]}
    workflow = with_subgraph([entry | {"properties": {"Node name for S&R": "T5TextEncode"}}, theirs])
    add_ui_node(workflow, 31, "T5TextEncode", [("clip", "CLIP", (1, 1))], ["CONDITIONING"])
    graph, changes = converted(workflow)
    inner = graph.workflow["definitions"]["subgraphs"][0]["nodes"]
    assert [found["type"] for found in inner] == [T5_TEXT_ENCODE.name, "T5TextEncode"]
    assert inner[0]["properties"]["Node name for S&R"] == graph.kind(31) == T5_TEXT_ENCODE.name
    assert any('(node 4) in the subgraph "old ella" became' in line for line in changes)
