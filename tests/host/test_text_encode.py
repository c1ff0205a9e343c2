"""What ELLA's text encoder refuses to read, in a sentence that names the cause, whichever node asks for it."""

import pytest
import torch

CASES = {
    "(fox:1e7)": ("'fox' with 1e+07,", "weight near 1"),
    "a red (fox:nan)": ("'fox' with nan,", "weight near 1"),
    "(a red:inf) fox": ("'a red' with inf,", "weight near 1"),
    "(" * 200 + "fox" + ")" * 200: ("'fox' with", "weight near 1"),
    "a fox <lora:detail:0.8>": ("<lora:detail:0.8>", "Load LoRA"),
    "a fox, embedding:easy": ("embedding:easy", "clip_positive"),
    "word " * 5000: ("tokens", "max_length"),
}
NODES = ["ELLAT5TextEncode", "CLIPTextEncode"]


@pytest.mark.parametrize("node", NODES)
@pytest.mark.parametrize("text", CASES, ids=["1e7", "nan", "inf", "brackets", "lora", "embedding", "5000 words"])
def test_a_prompt_is_refused(host, t5, node, text):
    inputs = {"max_length": 0} if node == "ELLAT5TextEncode" else {}
    with pytest.raises(ValueError) as error:
        host.run(node, clip=t5, text=text, **inputs)
    for said in CASES[text]:
        assert said in str(error.value)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_what_is_refused_is_not_cached(host, own_encoder, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))
    clip = host.run("LoadELLATextEncoder", text_encoder_name=own_encoder, prompt_cache=True)[0]
    for text in CASES:
        with pytest.raises(ValueError):
            host.run("ELLAT5TextEncode", clip=clip, text=text, max_length=0)
    assert list(tmp_path.rglob("*.safetensors")) == []


def test_a_long_prompt_is_read_to_max_length(host, t5):
    states = host.run("ELLAT5TextEncode", clip=t5, text="word " * 5000, max_length=4096)[0][0][0]
    assert states.shape[:2] == (1, 4096) and states.isfinite().all()


OTHER_NODES = {
    "CLIPTextEncodeFlux": {"clip_l": "a fox", "t5xxl": "a fox", "guidance": 3.5},
    "CLIPTextEncodeSDXL": {
        **dict.fromkeys(("width", "height", "target_width", "target_height"), 64),
        **{"crop_w": 0, "crop_h": 0, "text_g": "a fox", "text_l": "a fox"},
    },
    "CLIPTextEncodeSD3": {"clip_l": "a", "clip_g": "a", "t5xxl": "a", "empty_padding": "none"},
    "CLIPTextEncodeHunyuanDiT": {"bert": "a fox", "mt5xl": "a fox"},
}


@pytest.mark.parametrize("node", OTHER_NODES)
def test_nodes_for_other_models_name_ella_s(host, t5, node):
    with pytest.raises(ValueError, match="made for another model's CLIP.*use ELLA Text Encode"):
        host.run(node, clip=t5, **OTHER_NODES[node])


@pytest.mark.parametrize(
    "ask",
    [
        lambda clip: clip.tokenize("a fox", return_word_ids=True)["l"],
        lambda clip: clip.tokenize(["a fox", "a hen"]),
        lambda clip: clip.cond_stage_model.t5xl([[3, 9, 1]]),
    ],
    ids=["by CLIP's name (ADV_CLIP_emb)", "a list of prompts", "the module itself (smZNodes)"],
)
def test_other_packs_ways_name_ella_s(t5, ask):
    with pytest.raises(ValueError, match="use ELLA Text Encode"):
        ask(t5)


def test_a_node_may_look_for_tokens_of_another_name(t5):
    tokens = t5.tokenize("a fox")
    assert "l" not in tokens and tokens.get("l") is None
    with pytest.raises(KeyError):
        tokens["l"]


@pytest.mark.parametrize(
    "text, lost, pieces",
    [
        ("a {red} ~fox", "{ } ~", ["{ (2, unknown)", "} (2, unknown)", "~ (2, unknown)"]),
        ("({{:1.2)}", "{ }", ["{{ (2, unknown)", "} (2, unknown)"]),
        (r"\(a\) \\", "\\", ["\\ (2, unknown)"]),
    ],
)
def test_the_report_shows_what_t5_can_not_read(host, t5, text, lost, pieces):
    (report,) = host.run("ELLATokenReport", clip=t5, text=text, max_length=0)
    assert f"The language model can't read these characters, and what they stand for is lost: {lost}" in report.split(
        "\n"
    )
    for piece in pieces:
        assert piece in report
    assert "<unk>" not in report


def test_the_report_is_short_where_t5_reads_all(host, t5):
    (report,) = host.run("ELLATokenReport", clip=t5, text="a red fox, (blue:1.2) teapot", max_length=0)
    assert "can't read" not in report and "unknown" not in report


def test_weights_of_the_file_that_are_not_finite_are_refused(host, own_encoder, model_files):
    from safetensors.torch import load_file, save_file

    path = model_files / "ella_encoder" / own_encoder / "model.safetensors"
    weights = load_file(path)
    weights["encoder.block.1.layer.0.SelfAttention.q.weight"][3, 3] = torch.nan
    save_file(weights, path)
    with pytest.raises(ValueError, match="encoder.block.1.layer.0.SelfAttention.q.weight that are not finite"):
        host.run("LoadELLATextEncoder", text_encoder_name=own_encoder)
