"""Node replacements of earlier ELLA nodes, as the host takes, serves and applies them."""

import pytest

# Inputs, widgets in the order of widgets_values, and number of outputs of the old nodes, from that pack's NODES.md.
OLD_NODES = {
    "ELLALoader": (["name"], ["name"], 1),
    "T5TextEncoderLoader #ELLA": (["name", "max_length", "dtype"], ["name", "max_length", "dtype"], 1),
    "T5TextEncode #ELLA": (["text", "text_encoder"], ["text"], 1),
    "EllaApply": (["model", "ella", "positive", "negative"], [], 3),
}
OLD_PROMPT = {
    "1": ("CheckpointLoaderSimple", {"ckpt_name": "tiny.safetensors"}),
    "2": ("ELLALoader", {"name": "tiny.safetensors"}),
    "3": ("T5TextEncoderLoader #ELLA", {"name": "tiny-t5", "max_length": 0, "dtype": "auto"}),
    "4": ("T5TextEncode #ELLA", {"text": "a red fox", "text_encoder": ["3", 0]}),
    "5": ("T5TextEncode #ELLA", {"text": "", "text_encoder": ["3", 0]}),
    "6": ("EllaApply", {"model": ["1", 0], "ella": ["2", 0], "positive": ["4", 0], "negative": ["5", 0]}),
}


@pytest.fixture
def served(host):
    return host.server.node_replace_manager.as_dict()


@pytest.mark.parametrize("old", OLD_NODES)
def test_a_replacement_maps_what_is_there_on_both_sides(host, served, old):
    (entry,) = served[old]
    inputs, widgets, outputs = OLD_NODES[old]
    info = host.node_classes[entry["new_node_id"]].GET_NODE_INFO_V1()
    ours = info["input"]["required"] | info["input"].get("optional", {})
    assert entry["old_widget_ids"] == widgets
    assert {pair["old_id"] for pair in entry["input_mapping"] if "old_id" in pair} <= set(inputs)
    assert set(info["input"]["required"]) <= {pair["new_id"] for pair in entry["input_mapping"]} <= set(ours)
    assert [int(pair["old_idx"]) for pair in entry["output_mapping"]] == list(range(outputs))
    assert all(pair["new_idx"] < len(info["output"]) for pair in entry["output_mapping"])


def test_no_other_node_of_the_old_packs_is_replaced(host, served):
    ours = {"LoadELLA", "LoadELLATextEncoder", "ELLAT5TextEncode", "ELLAApplyConditioning"}
    replaced = {old for old, entries in served.items() if entries[0]["new_node_id"] in ours}
    assert replaced == {*OLD_NODES, "T5TextEncode"}


def test_the_host_runs_a_saved_prompt_of_the_old_pack(host, model_files):
    prompt = {
        node: {"class_type": kind, "inputs": inputs, "_meta": {"title": kind}}
        for node, (kind, inputs) in OLD_PROMPT.items()
    }
    host.server.node_replace_manager.apply_replacements(prompt)
    outputs = {}
    for node, fields in prompt.items():
        inputs = {
            name: outputs[value[0]][value[1]] if isinstance(value, list) else value
            for name, value in fields["inputs"].items()
        }
        outputs[node] = host.run(fields["class_type"], **inputs)
    model, positive, negative = outputs["6"]
    assert model is not outputs["1"][0] and positive[0][0].shape == negative[0][0].shape == (1, 64, 768)


def test_the_former_id_of_the_encode_node_is_replaced_by_name(host, served):
    """The editor takes inputs of the same name over where no mapping is given."""
    (entry,) = served["T5TextEncode"]
    info = host.node_classes[entry["new_node_id"]].GET_NODE_INFO_V1()
    assert entry["new_node_id"] == "ELLAT5TextEncode"
    assert entry["input_mapping"] is None and entry["output_mapping"] is None
    assert entry["old_widget_ids"] == [name for name in info["input"]["required"] if name != "clip"]


def test_a_prompt_of_the_other_pack_with_that_id_does_not_fail(host):
    inputs = {"text": "a red fox", "T5": ["2", 0]}
    prompt = {"1": {"class_type": "T5TextEncode", "inputs": inputs, "_meta": {"title": "T5 Text Encode"}}}
    host.server.node_replace_manager.apply_replacements(prompt)
    assert prompt["1"]["inputs"] == {}
