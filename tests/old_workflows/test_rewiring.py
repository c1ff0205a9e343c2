"""Old workflows rewired: their structure and what is reported, without a host."""

import copy

import pytest
from old_graphs import GRAPHS, as_ui, node, t5

from old_workflows import convert as rules
from old_workflows.new_nodes import APPLY
from old_workflows.old_nodes import OLD_NODES
from old_workflows.ui_layout import xy
from old_workflows.workflow_file import graph_of

PASSED_THROUGH = {
    "controlnet": {"ControlNetApply"},
    "controlnet_pair": {"ControlNetApplyAdvanced"},
    "clip_by_concat_with_lora": {"ConditioningConcat"},
    "second_model_reads_through_concat": {"ConditioningConcat"},
}
FORMATS = {"api": copy.deepcopy, "ui": as_ui}


def convert(workflow):
    """(Graph, changes) of a converted workflow."""
    graph = graph_of(workflow, "test")
    return graph, rules.convert(graph)


def converted(name, form):
    return convert(FORMATS[form](GRAPHS[name]))


def wires(graph, node):
    """{input: (node type, slot)} of a node."""
    return {name: (graph.kind(start.node), start.slot) for name, start in graph.sources(node).items()}


def samplers(graph):
    return graph.of_kinds(("KSampler", "SamplerCustom"))


@pytest.fixture(params=FORMATS)
def form(request):
    return request.param


# ---- structure


@pytest.mark.parametrize("name", GRAPHS)
def test_nothing_of_the_old_packs_is_left(name, form):
    graph, _ = converted(name, form)
    assert graph.of_kinds((*OLD_NODES, "GetSigma", "BasicScheduler")) == []


@pytest.mark.parametrize("name", GRAPHS)
def test_every_sampler_gets_model_and_conditionings_of_apply_ella(name, form):
    graph, _ = converted(name, form)
    for number in samplers(graph):
        wired = wires(graph, number)
        between = PASSED_THROUGH.get(name, set())
        assert wired["model"] == (APPLY.name, 0)
        assert wired["positive"] == (APPLY.name, 1) or wired["positive"][0] in between
        assert wired["negative"] == (APPLY.name, 2) or wired["negative"][0] in between | {"CLIPTextEncode"}


@pytest.mark.parametrize("name", GRAPHS)
def test_both_formats_become_the_same_graph(name):
    api, api_changes = converted(name, "api")
    ui, ui_changes = converted(name, "ui")
    assert api_changes == ui_changes
    assert [(node, api.kind(node)) for node in api.nodes()] == [(str(node), ui.kind(node)) for node in ui.nodes()]
    for number in api.nodes():
        assert wires(api, number) == wires(ui, int(number))


@pytest.mark.parametrize("name", GRAPHS)
def test_nodes_of_other_packs_are_left_alone(name):
    graph, _ = converted(name, "ui")
    before = {entry["id"]: entry for entry in as_ui(GRAPHS[name])["nodes"]}
    for entry in graph.workflow["nodes"]:
        if entry["id"] in before and before[entry["id"]]["type"] == entry["type"]:
            for key in ("type", "size", "mode", "widgets_values", "properties"):
                assert entry[key] == before[entry["id"]][key]


@pytest.mark.parametrize("name", GRAPHS)
def test_links_of_the_editors_format_agree_with_the_slots(name):
    workflow = converted(name, "ui")[0].workflow
    nodes = {entry["id"]: entry for entry in workflow["nodes"]}
    for number, origin, output, target, position, kind in workflow["links"]:
        assert number in nodes[origin]["outputs"][output]["links"] and nodes[origin]["outputs"][output]["type"] == kind
        slot = nodes[target]["inputs"][position]
        assert slot["link"] == number and (slot["type"] == kind or "widget" in slot)
    numbers = sorted(link[0] for link in workflow["links"])
    slots = [slot for entry in nodes.values() for slot in entry["inputs"]]
    outputs = [slot for entry in nodes.values() for slot in entry["outputs"]]
    assert sorted(slot["link"] for slot in slots if slot["link"] is not None) == numbers
    assert sorted(number for slot in outputs for number in slot["links"]) == numbers
    assert workflow["last_link_id"] >= max(numbers) and workflow["last_node_id"] == max(nodes)


@pytest.mark.parametrize("name", GRAPHS)
def test_no_node_lies_over_another(name):
    entries = converted(name, "ui")[0].workflow["nodes"]
    corners = [xy(entry["pos"]) for entry in entries]
    ends = [[place + size for place, size in zip(xy(entry["pos"]), entry["size"])] for entry in entries]
    for one in range(len(entries)):
        for two in range(one):
            assert any(
                corners[one][axis] >= ends[two][axis] or corners[two][axis] >= ends[one][axis] for axis in (0, 1)
            )


APPLY_INPUTS = {
    "apply_with_sigmas": {"positive": "ELLAT5TextEncode", "negative": "ELLAT5TextEncode"},
    "text_encode_with_clip_and_lora": {
        "positive": "ELLAT5TextEncode",
        "negative": "ELLAT5TextEncode",
        "clip_positive": "CLIPTextEncode",
        "clip_negative": "CLIPTextEncode",
    },
    "positive_only": {"positive": "ELLAT5TextEncode", "clip_positive": "CLIPTextEncode"},
    "clip_and_ella": {
        "positive": "ELLAT5TextEncode",
        "negative": "ELLAT5TextEncode",
        "clip_positive": "CLIPTextEncode",
        "clip_negative": "CLIPTextEncode",
    },
    "clip_ignored_with_sigmas": {"positive": "ELLAT5TextEncode", "negative": "ELLAT5TextEncode"},
    "one_sigma": {"positive": "ELLAT5TextEncode", "negative": "ELLAT5TextEncode"},
}


@pytest.mark.parametrize("name", APPLY_INPUTS)
def test_apply_ella_reads_what_the_old_graph_read(name, form):
    graph, _ = converted(name, form)
    (apply,) = graph.of_kinds((APPLY.name,))
    wired = wires(graph, apply)
    assert (wired.pop("ella"), wired.pop("model")[1]) == (("LoadELLA", 0), 0)
    assert {key: kind for key, (kind, _) in wired.items()} == APPLY_INPUTS[name]


def test_prompts_keep_their_sides(form):
    graph, _ = converted("text_encode_with_clip_and_lora", form)
    (apply,) = graph.of_kinds((APPLY.name,))
    sources = graph.sources(apply)
    workflow = graph.workflow
    texts = {}
    for name in ("positive", "negative", "clip_positive", "clip_negative"):
        number = sources[name].node
        if form == "api":
            texts[name] = workflow[number]["inputs"]["text"]
        else:
            texts[name] = graph.by_id[number]["widgets_values"][0]
    old = GRAPHS["text_encode_with_clip_and_lora"]
    assert texts == {
        "positive": old["13"]["inputs"]["text"],
        "negative": old["14"]["inputs"]["text"],
        "clip_positive": old["13"]["inputs"]["text_clip"],
        "clip_negative": old["14"]["inputs"]["text_clip"],
    }


def test_ella_comes_after_the_lora(form):
    graph, _ = converted("clip_by_concat_with_lora", form)
    (apply,) = graph.of_kinds((APPLY.name,))
    assert wires(graph, apply)["model"] == ("LoraLoader", 0)


def test_samplers_of_different_models_get_an_apply_ella_each(form):
    graph, _ = converted("two_samplers_and_a_lora_for_the_second", form)
    first, second = [graph.sources(number)["model"].node for number in samplers(graph)]
    assert first != second
    assert {wires(graph, first)["model"], wires(graph, second)["model"]} == {
        ("CheckpointLoaderSimple", 0),
        ("LoraLoader", 0),
    }
    for number in samplers(graph):
        assert len({start.node for name, start in graph.sources(number).items() if name != "latent_image"}) == 1


def test_two_prompts_of_one_sampler_get_chained(form):
    prompt = copy.deepcopy(GRAPHS["encode"])
    prompt |= {
        "15": t5("a blue teapot"),
        "16": node("EllaEncode", ella="12:0", embeds="15:0"),
        "17": node("ConditioningConcat", conditioning_to="13:0", conditioning_from="16:0"),
    }
    prompt["7"]["inputs"]["positive"] = ["17", 0]
    graph, _ = convert(FORMATS[form](prompt))
    last = graph.sources(samplers(graph)[0])["model"].node
    before = graph.sources(last)["model"].node
    assert graph.kind(last) == graph.kind(before) == APPLY.name
    assert wires(graph, before)["model"] == ("CheckpointLoaderSimple", 0)


def test_the_loaders_max_length_goes_to_its_prompts(form):
    prompt = copy.deepcopy(GRAPHS["encode"])
    prompt["3"]["inputs"] |= {"max_length": 128, "name": ".", "dtype": "FP32"}
    graph, changes = convert(FORMATS[form](prompt))
    for number in graph.of_kinds(("ELLAT5TextEncode",)):
        fields = (
            graph.workflow[number]["inputs"]
            if form == "api"
            else {"max_length": graph.by_id[number]["widgets_values"][1]}
        )
        assert fields["max_length"] == 128
    (loader,) = graph.of_kinds(("LoadELLATextEncoder",))
    name = (
        graph.workflow[loader]["inputs"]["text_encoder_name"]
        if form == "api"
        else graph.by_id[loader]["widgets_values"][0]
    )
    assert name == "ella_encoder"
    assert any("float16" in line for line in changes) and any("max_length" in line for line in changes)


def test_a_prompt_that_comes_through_a_wire_stays_wired(form):
    prompt = copy.deepcopy(GRAPHS["encode"])
    prompt["20"] = node("PrimitiveString", value="a red fox")
    prompt["4"]["inputs"]["text"] = ["20", 0]
    graph, _ = convert(FORMATS[form](prompt))
    assert wires(graph, graph.of_kinds(("ELLAT5TextEncode",))[0])["text"] == ("PrimitiveString", 0)


def test_what_the_editor_already_replaced_is_wired_on(form):
    prompt = copy.deepcopy(GRAPHS["apply_with_timesteps"])
    prompt["2"] = {"class_type": "LoadELLA", "inputs": {"ella_name": "tiny.safetensors"}}
    prompt["6"]["class_type"] = APPLY.name
    if form == "ui":
        workflow = as_ui({**prompt, "2": GRAPHS["encode"]["2"], "6": {**prompt["6"], "class_type": "EllaApply"}})
        by_id = {entry["id"]: entry for entry in workflow["nodes"]}
        by_id[2]["type"], by_id[6]["type"] = "LoadELLA", APPLY.name
    else:
        workflow = prompt
    graph, changes = convert(workflow)
    assert wires(graph, graph.of_kinds((APPLY.name,))[0])["ella"] == ("LoadELLA", 0)
    assert any("was wired past the old nodes" in line for line in changes)


def test_reroutes_on_old_wires_go_and_others_stay():
    workflow = as_ui(GRAPHS["encode"])
    for number, (wire, slot) in enumerate((("ELLA", 0), ("MODEL", 1)), start=30):
        target = next(entry for entry in workflow["nodes"] if entry["id"] == (13 if wire == "ELLA" else 7))
        link = next(link for link in workflow["links"] if link[3] == target["id"] and link[5] == wire)
        reroute = {
            "id": number,
            "type": "Reroute",
            "pos": [0, 0],
            "size": [75, 26],
            "mode": 0,
            "inputs": [{"name": "", "type": "*", "link": link[0]}],
            "outputs": [{"name": "", "type": wire, "links": [100 + slot]}],
        }
        workflow["links"].append([100 + slot, number, 0, link[3], link[4], wire])
        target["inputs"][link[4]]["link"] = 100 + slot
        link[3:5] = [number, 0]
        workflow["nodes"].append(reroute)
    graph, _ = convert(workflow)
    assert graph.of_kinds(("Reroute",)) == [31]
    assert wires(graph, graph.of_kinds((APPLY.name,))[0])["model"] == ("Reroute", 0)


# ---- reports


@pytest.mark.parametrize("name", GRAPHS)
def test_each_old_node_has_its_line(name, form):
    _, changes = converted(name, form)
    for number, fields in GRAPHS[name].items():
        if fields["class_type"] in (*OLD_NODES, "GetSigma", "BasicScheduler"):
            label = f"{fields['class_type']} (node {number}) "
            assert sum(line.startswith(label) for line in changes) == 1
    assert all("\n" not in line for line in changes)


def test_what_may_change_the_picture_is_said():
    prompt = copy.deepcopy(GRAPHS["encode"])
    prompt["4"]["inputs"]["text"] = "a (red:1.3) fox"
    assert any("brackets" in line for line in convert(prompt)[1])
    assert any("did not use its tokens" in line for line in converted("clip_ignored_with_sigmas", "api")[1])
    assert any("one sigma" in line for line in converted("one_sigma", "api")[1])
