"""The nodes' contract, prompts through the host's CLIP object, and what wrong input gets."""

import json
import os

import comfy.supported_models
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from safetensors import safe_open
from safetensors.torch import load_file
from sampling import PROMPT, ksample

IDS = {
    "LoadELLA": (["ella_name"], [], ["ELLA"]),
    "LoadELLATextEncoder": (["text_encoder_name"], ["prompt_cache", "precision", "device"], ["CLIP"]),
    "ELLAT5TextEncode": (["clip", "text", "max_length"], [], ["CONDITIONING"]),
    "ELLAApplyConditioning": (
        ["model", "ella", "positive"],
        ["negative", "clip_positive", "clip_negative"],
        ["MODEL", "CONDITIONING", "CONDITIONING"],
    ),
    "ELLADiagnose": ([], ["ella", "clip", "model", "self_test"], ["STRING"]),
    "ELLAAttentionMap": (
        ["clip", "ella", "text", "max_length", "steps", "blocks", "heads"],
        [],
        ["IMAGE", "STRING"],
    ),
    "ELLATokenReport": (["clip", "text", "max_length"], [], ["STRING"]),
}
PROMPTS = {
    "empty": "",
    "only spaces": "   \n ",
    "10,000 characters": "a very long sentence about a red fox. " * 263 + "the end",
    "emoji": "a fox \N{FOX FACE} and a \N{TEACUP WITHOUT HANDLE}",
    "Chinese": "\u4e00\u53ea\u7ea2\u8272\u7684\u72d0\u72f8\u5728\u8bfb\u62a5\u7eb8",
    "only punctuation": "... !!! ,,, ---",
    "open parenthesis": "a fox (with a hat, ((and a cane",
}


@pytest.mark.parametrize("node_id", IDS)
def test_ids_and_inputs_are_what_shared_workflows_store(host, node_id):
    required, optional, outputs = IDS[node_id]
    info = host.node_classes[node_id].GET_NODE_INFO_V1()
    assert list(info["input"].get("required", {})) == required
    assert list(info["input"].get("optional", {})) == optional
    assert list(info["output"]) == outputs
    assert info["description"] and info["category"] and info["display_name"]


def states_of(conditioning):
    ((states, options),) = conditioning
    return states, options


@pytest.mark.parametrize("case", PROMPTS)
def test_any_prompt_becomes_a_picture(host, model, ella, t5, case):
    conditioning = host.run("ELLAT5TextEncode", clip=t5, text=PROMPTS[case], max_length=0)[0]
    states, _ = states_of(conditioning)
    assert states.shape[0] == 1 and states.shape[1] >= 1 and states.isfinite().all()
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=conditioning, negative=conditioning
    )
    assert ksample(host, patched, positive, negative, steps=1).isfinite().all()


@pytest.mark.parametrize("name", ["prompt", "empty", "unicode"])
@pytest.mark.parametrize("kind, max_length", [("flexible", 0), ("fixed128", 128)])
def test_text_states_are_those_of_transformers(host, t5, data, name, kind, max_length):
    tensors, texts = data
    states, _ = states_of(host.run("ELLAT5TextEncode", clip=t5, text=texts[name], max_length=max_length)[0])
    cosine = torch.nn.functional.cosine_similarity(
        states[0].double(), tensors[f"states.{name}.{kind}"].double(), dim=-1
    )
    assert states.dtype == torch.float16 and cosine.min() > 0.9995


@pytest.fixture(scope="module")
def data(pytestconfig):
    path = pytestconfig.rootpath / "tests/data/t5_overflow/expected.safetensors"
    with safe_open(path, "pt") as file:
        return load_file(path), json.loads(file.metadata()["texts"])


@pytest.mark.parametrize("max_length", [1, 2, 5, 77, 128, 300])
def test_max_length_is_the_number_of_tokens(host, t5, max_length):
    states, _ = states_of(host.run("ELLAT5TextEncode", clip=t5, text=PROMPT, max_length=max_length)[0])
    assert states.shape[1] == max_length
    ids = [token for token, _ in t5.tokenize(PROMPT, max_length=max_length)["t5xl"][0]]
    assert ids == t5.cond_stage_model.t5xl.encoder.token_ids(PROMPT, max_length)


def test_core_text_encode_gives_the_same_text_states(host, t5):
    ours = host.run("ELLAT5TextEncode", clip=t5, text=PROMPT, max_length=0)[0]
    core = host.run("CLIPTextEncode", clip=t5, text=PROMPT)[0]
    assert torch.equal(ours[0][0], core[0][0]) and ours[0][1].keys() == core[0][1].keys()


def test_clip_parts_are_appended_and_static(host, model, ella, text_states, clip_conds):
    patched, positive, negative = host.run(
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=text_states[0],
        negative=text_states[1],
        clip_positive=clip_conds[0],
        clip_negative=clip_conds[1],
    )
    for conditioning, clip in ((positive, clip_conds[0]), (negative, clip_conds[1])):
        tokens, options = states_of(conditioning)
        assert tokens.shape == (1, 64 + 77, 768)
        assert torch.equal(tokens[:, 64:], clip[0][0])
        assert torch.equal(options["pooled_output"], clip[0][1]["pooled_output"])


def test_without_negative_the_output_is_clip_negative(host, model, ella, text_states, clip_conds):
    _, _, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], clip_negative=clip_conds[1]
    )
    assert negative is clip_conds[1]


def test_without_any_negative_the_output_is_blocked_with_a_message(host, model, ella, text_states):
    _, _, negative = host.run("ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0])
    assert "wire an ELLA Text Encode" in negative.message


def fails(host, message, node_id, **inputs):
    with pytest.raises(ValueError, match=message) as error:
        host.run(node_id, **inputs)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")


def test_missing_files_are_said_before_the_run(host, model_files):
    said = host.node_classes["LoadELLA"].validate_inputs(ella_name="nothing.safetensors")
    assert "nothing.safetensors was not found in the model folder ella" in said
    said = host.node_classes["LoadELLATextEncoder"].validate_inputs(text_encoder_name="nothing")
    assert "nothing was not found in the model folders ella_encoder or text_encoders" in said


def test_files_are_listed(host, model_files):
    assert host.node_classes["LoadELLA"].define_schema().inputs[0].options.count("tiny.safetensors") == 1
    assert "tiny-t5" in host.node_classes["LoadELLATextEncoder"].define_schema().inputs[0].options


def test_text_states_need_apply_ella(host, model, text_states):
    with pytest.raises(ValueError, match="reached a sampler directly; wire them to Apply ELLA"):
        ksample(host, model, *text_states)


def test_text_states_need_apply_ella_on_a_patched_model_too(host, applied, text_states):
    with pytest.raises(ValueError, match="reached a sampler directly; wire them to Apply ELLA"):
        ksample(host, applied[0], *text_states)


def test_applied_conditioning_needs_the_patched_model(host, model, applied):
    with pytest.raises(ValueError, match="wire the MODEL output of Apply ELLA to the sampler"):
        ksample(host, model, *applied[1:])


def test_clip_where_text_states_belong(host, model, ella, clip_conds):
    fails(
        host,
        "positive of Apply ELLA is 768 wide, as from a CLIP, and tiny.safetensors reads text states of width 32",
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=clip_conds[0],
    )


@pytest.mark.parametrize("width", [4096, 768])
def test_another_language_model(host, model, ella, text_states, width):
    """T5-XXL is 4096 wide, T5-base 768: both numbers are named."""
    states, options = states_of(text_states[0])
    other = [[torch.zeros(1, 9, width), options]]
    fails(
        host,
        f"negative of Apply ELLA is {width} wide, as from another language model, and tiny.safetensors reads .* 32",
        "ELLAApplyConditioning",
        model=model,
        ella=ella,
        positive=text_states[0],
        negative=other,
    )


def test_applied_twice(host, model, ella, applied):
    fails(
        host, "already went through an Apply ELLA", "ELLAApplyConditioning", model=model, ella=ella, positive=applied[1]
    )


def test_clip_in_t5_text_encode(host, checkpoint):
    fails(
        host,
        "where ELLA's text encoder is expected",
        "ELLAT5TextEncode",
        clip=checkpoint[1],
        text="a fox",
        max_length=0,
    )


@pytest.mark.parametrize("text", ["embedding:EasyNegative", "blurry, (embedding:bad_hands:1.2)"])
def test_textual_embeddings_belong_to_clip(host, t5, text):
    fails(host, "textual embeddings belong to CLIP", "ELLAT5TextEncode", clip=t5, text=text, max_length=0)


def test_clip_skip_on_the_text_encoder(host, t5):
    (skipped,) = host.run("CLIPSetLastLayer", clip=t5, stop_at_clip_layer=-2)
    fails(host, "the connector only knows the last layer", "ELLAT5TextEncode", clip=skipped, text="a fox", max_length=0)


@pytest.mark.parametrize(
    "family, expected",
    [
        ("SDXL", r"\(SDXL\) attends to tokens of width 2048 and tiny.safetensors makes tokens of width 768"),
        ("SVD_img2vid", r"\(SVD_img2vid\) attends to tokens of width 1024"),
        ("Flux", r"\(Flux\) has no cross-attention of a UNet"),
    ],
)
def test_models_that_the_connector_can_not_condition(host, ella, text_states, family, expected):
    """The host's own model classes with the host's own configuration; the weights play no part."""
    supported = getattr(comfy.supported_models, family)
    config = supported(dict(supported.unet_config, in_channels=4, disable_unet_model_creation=True))
    other = ModelPatcher(config.get_model({}, ""), load_device=torch.device("cpu"), offload_device=torch.device("cpu"))
    fails(host, expected, "ELLAApplyConditioning", model=other, ella=ella, positive=text_states[0])


def test_a_wrong_file_leaves_nothing_loaded(host, model_files):
    import comfy.model_management

    (model_files / "ella/broken.safetensors").write_bytes(b"")
    loaded = list(comfy.model_management.current_loaded_models)
    fails(host, r"broken.safetensors is empty \(0 bytes\)", "LoadELLA", ella_name="broken.safetensors")
    assert comfy.model_management.current_loaded_models == loaded
    (model_files / "ella/broken.safetensors").unlink()


def test_a_second_load_shares_the_weights(host, t5):
    (again,) = host.run("LoadELLATextEncoder", text_encoder_name="tiny-t5")
    assert again is not t5 and again.patcher is not t5.patcher
    assert again.cond_stage_model is t5.cond_stage_model and again.patcher.model is t5.patcher.model


def test_a_file_that_changed_is_loaded_anew(host, t5, model_files):
    weights = model_files / "ella_encoder/tiny-t5/model.safetensors"
    before = weights.stat()
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    (changed,) = host.run("LoadELLATextEncoder", text_encoder_name="tiny-t5")
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert changed.cond_stage_model is not t5.cond_stage_model


def test_loaded_models_can_be_loaded_again_by_the_host(host, ella, t5):
    """cached_patcher_init, which the host's multi-GPU and training nodes call: fresh weights, the same network."""
    for patcher in (ella, t5.patcher):
        load, arguments = patcher.cached_patcher_init
        for options in ({}, {"disable_dynamic": True}):
            fresh = load(*arguments, **options)
            assert fresh.model is not patcher.model
            expected = patcher.model.state_dict()
            assert all(torch.equal(weight, expected[key]) for key, weight in fresh.model.state_dict().items())


class ForeignELLA:
    """What another pack may put on a wire of type ELLA: a network of its own, without a patcher."""


@pytest.mark.parametrize("node_id", ["ELLAApplyConditioning", "ELLAAttentionMap"])
def test_a_wire_of_type_ella_from_another_pack(host, model, t5, text_states, node_id):
    inputs = {
        "ELLAApplyConditioning": {"model": model, "positive": text_states[0]},
        "ELLAAttentionMap": {"clip": t5, "text": "fox", "max_length": 0, "steps": 2, "blocks": "all", "heads": "all"},
    }
    with pytest.raises(ValueError, match=r"got an object of another pack \(ForeignELLA\) .* wire it from Load ELLA"):
        host.run(node_id, ella=ForeignELLA(), **inputs[node_id])
