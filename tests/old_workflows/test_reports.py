"""What the lines of a conversion say: above all what changes the picture."""

import copy

import pytest
from editing import add_ui_node, converted, other, refusal, rewire, with_nodes
from old_graphs import GRAPHS, STEPS, as_ui, node, sampler, timesteps

from old_workflows.new_nodes import TEMPLATE

FORMATS = {"api": copy.deepcopy, "ui": as_ui}


@pytest.fixture(params=FORMATS)
def as_form(request):
    return FORMATS[request.param]


def line_of(label, changes):
    """The one line that begins with a node's label."""
    (line,) = [line for line in changes if line.startswith(label + " ")]
    return line


# ---- schedules


def scheduled(told, run=STEPS, kind="KSampler"):
    """`encode` whose connector was told one schedule and whose sampler runs another."""
    prompt = with_nodes("encode")
    prompt["12"]["inputs"] |= told
    prompt["7"]["inputs"] |= run
    prompt["7"]["class_type"] = kind
    return prompt


KARRAS = {"scheduler": "karras", "steps": 20, "denoise": 1.0}
HALF = {"scheduler": "normal", "steps": 20, "denoise": 0.5}
CHANGED = {
    "another scheduler": (KARRAS, STEPS, "it said karras, 20 steps, denoise 1, and KSampler (node 7) runs normal, 2"),
    "other steps": (STEPS | {"steps": 30}, STEPS, "it said normal, 30 steps"),
    "another denoise": (STEPS, STEPS | {"denoise": 0.5}, "runs normal, 2 steps, denoise 0.5"),
    "not spread evenly": (KARRAS, KARRAS, "since the old pack gave tokens of other timesteps with karras, 20 steps"),
    "half of the noise": (HALF, HALF, "since the old pack gave tokens of other timesteps with normal, 20 steps"),
    "told by a wire": ({"steps": ["20", 0]}, STEPS, "since the old pack gave tokens of other timesteps with its own"),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_schedule_that_changes_the_picture_is_said(case, as_form):
    told, run, words = CHANGED[case]
    prompt = scheduled(told, run) | {"20": node("PrimitiveString", value="3")}
    line = line_of("SetEllaTimesteps (node 12)", converted(as_form(prompt))[1])
    assert "this changes the picture" in line and words in line


@pytest.mark.parametrize("told", [STEPS, {"scheduler": "simple", "steps": 20, "denoise": 1}])
def test_a_schedule_that_was_right_changes_nothing(told, as_form):
    _, changes = converted(as_form(scheduled(told, told)))
    assert line_of("SetEllaTimesteps (node 12)", changes).endswith("Apply ELLA follows the sampler's own schedule")


def test_a_sampler_that_can_t_be_read_may_change_the_picture():
    line = line_of("SetEllaTimesteps (node 12)", converted(scheduled(STEPS, kind="FancySampler"))[1])
    assert "this changes the picture where FancySampler (node 7) runs another one than normal, 2 steps" in line


def test_sigmas_of_the_connector_are_compared_with_the_sampler(as_form):
    changes = converted(as_form(GRAPHS["align_your_steps"]))[1]
    assert "other timesteps with the sigmas of AlignYourStepsScheduler (node 11)" in line_of(
        "SetEllaTimesteps (node 12)", changes
    )
    changes = converted(as_form(GRAPHS["apply_with_sigmas"]))[1]
    assert line_of("EllaApply (node 6)", changes).endswith("Apply ELLA follows the sampler's own schedule")
    prompt = with_nodes("apply_with_sigmas", n11=node("BasicScheduler", model="1:0", **KARRAS))
    line = line_of("EllaApply (node 6)", converted(as_form(prompt))[1])
    assert "this changes the picture: it said karras, 20 steps" in line


def test_a_schedule_that_was_set_again_later_told_nothing(as_form):
    again = timesteps()["inputs"] | {"ella": ["12", 0]}
    prompt = with_nodes("encode", n15=other("SetEllaTimesteps", **again))
    prompt["12"]["inputs"] |= KARRAS
    for number in ("13", "14"):
        prompt[number]["inputs"]["ella"] = ["15", 0]
    assert not any("changes the picture" in line for line in converted(as_form(prompt))[1])


# ---- words


def prompted(text, **nodes):
    prompt = with_nodes("encode", **nodes)
    prompt["4"]["inputs"]["text"] = text
    return prompt


WORDS = {
    "brackets": ("a (red:1.3) fox", "brackets weigh words in {} now"),
    "embedding": (
        "blurry, embedding:BadDream, dark",
        "embedding:BadDream in {} is nothing that a language model reads",
    ),
    "lora": ("a fox <lora:chibi:0.8>", "<lora:chibi:0.8> in {} is nothing that a language model reads"),
}


@pytest.mark.parametrize("case", WORDS)
def test_words_that_are_read_otherwise_are_said(case, as_form):
    text, words = WORDS[case]
    line = line_of("T5TextEncode #ELLA (node 4)", converted(as_form(prompted(text)))[1])
    assert words.format("it") in line


@pytest.mark.parametrize("text", [r"a \(red\) fox", "an embedding: what is it", "1 < 2"])
def test_plain_words_are_passed_over(text, as_form):
    line = line_of("T5TextEncode #ELLA (node 4)", converted(as_form(prompted(text)))[1])
    assert line.endswith("became ELLAT5TextEncode")


@pytest.mark.parametrize("case", WORDS)
def test_words_that_come_by_a_wire_are_read_too(case, as_form):
    text, words = WORDS[case]
    workflow = as_form(prompted(["20", 0], n20=node("PrimitiveString", value=text)))
    line = line_of("T5TextEncode #ELLA (node 4)", converted(workflow)[1])
    assert words.format("PrimitiveString (node 20)") in line


def test_words_that_come_by_several_wires_are_read_too():
    joined = other("StringConcatenate", string_a=["21", 0], string_b="in the snow", delimiter=", ")
    prompt = prompted(["20", 0], n20=joined, n21=node("PrimitiveString", value="a (red:1.3) fox"))
    line = line_of("T5TextEncode #ELLA (node 4)", converted(prompt)[1])
    assert "brackets weigh words in PrimitiveString (node 21) now" in line and "(node 20)" not in line


def test_words_behind_set_and_get_are_read_too():
    workflow = as_ui(prompted(["20", 0], n20=node("PrimitiveString", value="a (red:1.3) fox")))
    add_ui_node(workflow, 30, "SetNode", [("STRING", "STRING", (20, 0))], ["*"], widgets_values=["prompt"])
    add_ui_node(workflow, 31, "GetNode", (), ["STRING"], widgets_values=["prompt"])
    rewire(workflow, 4, "text", (31, 0))
    line = line_of("T5TextEncode #ELLA (node 4)", converted(workflow)[1])
    assert "brackets weigh words in PrimitiveString (node 20) now" in line


def test_words_that_can_t_be_seen_get_a_warning():
    line = line_of("T5TextEncode #ELLA (node 4)", converted(prompted(["20", 0], n20=other("Dream", seed=3)))[1])
    assert "brackets weigh words in what Dream (node 20) gives it now" in line


# ---- nodes


def test_a_file_s_name_that_comes_by_a_wire_stays_wired(as_form):
    prompt = with_nodes("one_sigma", n20=node("PrimitiveString", value="tiny-t5"))
    prompt["2"]["inputs"]["t5_model"] = ["20", 0]
    graph, changes = converted(as_form(prompt))
    (loader,) = graph.of_kinds(("LoadELLATextEncoder",))
    assert graph.kind(graph.sources(loader)["text_encoder_name"].node) == "PrimitiveString"
    assert "for which its file must move" in line_of("LoadElla (node 2)", changes)


def test_nodes_that_sample_with_diffusers_stay_and_the_rest_is_converted():
    loader = other("ella_model_loader", model=["1", 0])
    graph, changes = converted(with_nodes("one_sigma", n60=loader))
    assert "samples with diffusers" in line_of("ella_model_loader (node 60)", changes)
    assert graph.workflow["60"] == loader and graph.of_kinds(("ELLAApplyConditioning",))


def test_the_template_that_a_refusal_names_is_there(repo):
    assert f"template {TEMPLATE} instead" in refusal({"1": other("ella_sampler")})
    assert (repo / f"workflows/{TEMPLATE}.json").is_file()


def test_a_title_of_one_s_own_is_kept():
    prompt = with_nodes("encode")
    prompt["4"]["_meta"]["title"] = "My positive"
    prompt["5"]["_meta"]["title"] = "T5 Text Encode #ELLA"
    workflow = converted(prompt)[0].workflow
    assert [workflow[number]["_meta"]["title"] for number in "45"] == ["My positive", "ELLAT5TextEncode"]
    workflow = as_ui(GRAPHS["encode"])
    workflow["nodes"][3]["title"], workflow["nodes"][4]["title"] = "My positive", "T5 Text Encode #ELLA"
    titles = {entry["id"]: entry.get("title") for entry in converted(workflow)[0].workflow["nodes"]}
    assert (titles[4], titles[5]) == ("My positive", None)


def test_values_are_read_by_name_whichever_way_they_were_saved():
    workflow = as_ui(GRAPHS["text_encode_with_clip_and_lora"])
    by_name = copy.deepcopy(workflow)
    names = {
        "EllaTextEncode": ("text", "text_clip"),
        "T5TextEncoderLoader #ELLA": ("name", "max_length", "dtype"),
        "SetEllaTimesteps": ("scheduler", "steps", "denoise"),
        "ELLALoader": ("name",),
    }
    for entry in by_name["nodes"]:
        if entry["type"] in names:
            pairs = list(zip(names[entry["type"]], entry["widgets_values"]))
            entry["widgets_values"] = dict(reversed(pairs))
    assert converted(by_name)[0].workflow == converted(workflow)[0].workflow


def test_values_are_read_in_the_order_of_the_slots_where_these_tell_it():
    workflow = as_ui(GRAPHS["text_encode_with_clip_and_lora"])
    other_order = copy.deepcopy(workflow)
    for entry in other_order["nodes"]:
        if entry["type"] == "EllaTextEncode":
            entry["widgets_values"].reverse()
            names = ("text_clip", "text")
            entry["inputs"] += [{"name": name, "type": "STRING", "widget": {"name": name}} for name in names]
    texts = [
        [
            entry.get("widgets_values")
            for entry in converted(graph)[0].workflow["nodes"]
            if "TextEncode" in entry["type"]
        ]
        for graph in (workflow, other_order)
    ]
    assert texts[0] == texts[1]


def test_long_and_broken_names_stay_short_and_on_one_line():
    kind = "Fancy\nLoader " + "x" * 5000
    message = refusal(with_nodes("encode", n2=other(kind, name="x")))
    assert "gets its ella from Fancy Loader xxx" in message and len(message) < 400 and "\n" not in message


def test_many_samplers_are_one_short_line():
    samplers = {f"n{number}": sampler("1:0", "13:0", "14:0") for number in range(100, 150)}
    (line,) = [line for line in converted(with_nodes("encode", **samplers))[1] if "was added before" in line]
    assert "and 48 more" in line and len(line) < 300
