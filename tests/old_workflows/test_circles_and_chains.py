"""Old workflows with wires in circles, which end in a sentence, and long ones, whose work grows with their length."""

import copy
import sys

import pytest
from editing import add_ui_node, converted, other, refusal, rewire, with_nodes
from old_graphs import GRAPHS, as_ui, node, official, sampler, t5, timesteps

from old_workflows.convert import convert
from old_workflows.new_nodes import APPLY
from old_workflows.old_nodes import SWITCHES
from old_workflows.workflow_file import graph_of

# ---- circles


def reroutes_in_a_circle():
    workflow = as_ui(GRAPHS["encode"])
    add_ui_node(workflow, 15, "Reroute", [("", "*", (2, 0))], ["*"])
    add_ui_node(workflow, 16, "Reroute", [("", "*", (15, 0))], ["*"])
    rewire(workflow, 15, "", (16, 0))
    rewire(workflow, 13, "ella", (16, 0))
    return workflow


def reroute_of_itself():
    workflow = as_ui(GRAPHS["encode"])
    add_ui_node(workflow, 15, "Reroute", [("", "*", (2, 0))], ["*"])
    rewire(workflow, 15, "", (15, 0))
    rewire(workflow, 13, "embeds", (15, 0))
    return workflow


COMBINED = {"n20": other("EllaCombineEmbeds", embeds=["21", 0], embeds_add=["4", 0])}
CIRCLES = {
    "reroutes": reroutes_in_a_circle,
    "a reroute of itself": reroute_of_itself,
    "schedules": lambda: with_nodes("encode", n12=timesteps() | {"inputs": {"ella": ["12", 0], "model": ["1", 0]}}),
    "embeds": lambda: with_nodes(
        "encode",
        n13=node("EllaEncode", ella="12:0", embeds="20:0"),
        n21=other("EllaCombineEmbeds", embeds=["20", 0], embeds_add=["4", 0]),
        **COMBINED,
    ),
    "conditionings": lambda: with_nodes(
        "encode",
        n20=other("ConditioningCombine", conditioning_1=["13", 0], conditioning_2=["21", 0]),
        n21=other("ConditioningCombine", conditioning_1=["20", 0], conditioning_2=["13", 0]),
        n7=sampler("1:0", "20:0", "14:0"),
    ),
    "models": lambda: with_nodes(
        "apply_without_schedule",
        n6=other("EllaApply", model=["20", 0], ella=["2", 0], positive=["4", 0], negative=["5", 0]),
        n20=other("EllaApply", model=["6", 0], ella=["2", 0], positive=["4", 0], negative=["5", 0]),
    ),
    "behind the sampler": lambda: with_nodes(
        "encode",
        n7=sampler("1:0", "13:0", "14:0", latent="20:0"),
        n20=other("VAEEncode", pixels=["9", 0], vae=["1", 2]),
    ),
}


@pytest.mark.parametrize("case", CIRCLES)
def test_a_circle_is_one_sentence(case):
    assert "lead in a circle" in refusal(CIRCLES[case]())


def test_a_circle_that_has_nothing_to_do_with_ella_is_left_alone():
    nodes = {"n40": other("ImageBlend", image1=["41", 0]), "n41": other("ImageBlend", image1=["40", 0])}
    graph, _ = converted(with_nodes("encode", **nodes))
    assert graph.workflow["40"] == nodes["n40"] and graph.workflow["41"] == nodes["n41"]


def test_reroutes_in_a_circle_before_a_node_that_switches_others_are_left_alone():
    workflow = as_ui(GRAPHS["encode"])
    add_ui_node(workflow, 15, "Reroute", [("", "*", (8, 0))], ["*"])
    rewire(workflow, 15, "", (15, 0))
    add_ui_node(workflow, 16, SWITCHES[0], [("x", "*", (15, 0))], ["*"])
    assert converted(workflow)[0].sources(16)["x"].node == 15


# ---- chains


def controlnets(pairs):
    """`encode` with a chain of ControlNets that take positive and negative together."""
    prompt, ends = copy.deepcopy(GRAPHS["encode"]), ([["13", 0], ["14", 0]])
    for number in range(100, 100 + pairs):
        prompt[str(number)] = other("ControlNetApplyAdvanced", positive=ends[0], negative=ends[1], strength=1.0)
        ends = [[str(number), 0], [str(number), 1]]
    prompt["7"]["inputs"] |= {"positive": ends[0], "negative": ends[1]}
    return prompt


@pytest.mark.parametrize("pairs", [1, 2, 10])
def test_a_chain_of_controlnets_gets_one_apply_ella(pairs):
    graph, _ = converted(controlnets(pairs))
    (apply,) = graph.of_kinds((APPLY.name,))
    texts = {side: graph.argument(graph.sources(apply)[side].node, "text") for side in ("positive", "negative")}
    assert texts == {"positive": GRAPHS["encode"]["4"]["inputs"]["text"], "negative": "blurry"}
    assert graph.workflow["100"]["inputs"]["positive"] == [apply, 1]
    assert graph.workflow["100"]["inputs"]["negative"] == [apply, 2]


def separate_pairs(count):
    prompt = official(n12=timesteps())
    for number in range(100, 100 + 5 * count, 5):
        positive, negative = f"{number + 2}:0", f"{number + 3}:0"
        prompt |= {
            str(number): t5("a fox"),
            str(number + 1): t5("blurry"),
            str(number + 2): node("EllaEncode", ella="12:0", embeds=f"{number}:0"),
            str(number + 3): node("EllaEncode", ella="12:0", embeds=f"{number + 1}:0"),
            str(number + 4): sampler("1:0", positive, negative),
        }
    return prompt | {"9": node("VAEDecode", samples="104:0", vae="1:2")}


def combined_prompts(count):
    prompt, end = copy.deepcopy(GRAPHS["encode"]), ["13", 0]
    for number in range(100, 100 + 2 * count, 2):
        prompt[str(number)] = node("EllaEncode", ella="12:0", embeds="4:0")
        prompt[str(number + 1)] = other("ConditioningCombine", conditioning_1=end, conditioning_2=[str(number), 0])
        end = [str(number + 1), 0]
    prompt["7"]["inputs"]["positive"] = end
    return prompt


def combined_embeds(count):
    prompt, end = copy.deepcopy(GRAPHS["encode"]), ["4", 0]
    for number in range(100, 100 + count):
        prompt[str(number)] = other("EllaCombineEmbeds", embeds=end, embeds_add=end)
        end = [str(number), 0]
    prompt["13"]["inputs"]["embeds"] = end
    return prompt


def many_samplers(count):
    samplers = {f"n{number}": sampler("1:0", "13:0", "14:0") for number in range(100, 100 + count)}
    return with_nodes("encode", **samplers)


def many_schedules(count):
    prompt, end = copy.deepcopy(GRAPHS["encode"]), "2:0"
    for number in range(100, 100 + count):
        prompt[str(number)] = node("SetEllaTimesteps", model="1:0", ella=end, scheduler="normal", steps=2, denoise=1.0)
        end = f"{number}:0"
    prompt["12"]["inputs"]["ella"] = [str(99 + count), 0]
    return prompt


LONG = (controlnets, separate_pairs, combined_prompts, combined_embeds, many_samplers, many_schedules)


def calls_of(function, *arguments):
    """How many functions of the converter a call makes, its own loops' steps among them."""
    count = 0

    def count_call(frame, event, _):
        nonlocal count
        count += event == "call" and "old_workflows" in frame.f_code.co_filename

    sys.setprofile(count_call)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("graph", LONG, ids=lambda graph: graph.__name__)
def test_work_grows_with_the_graph_and_no_faster(graph):
    short, long = (calls_of(convert, graph_of(graph(count), "test")) for count in (40, 160))
    assert long < 5 * short  # four times the graph; one that follows wires twice takes 16 times as long or more
