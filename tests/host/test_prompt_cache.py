"""Load ELLA Text Encoder with prompt_cache: known prompts are sampled without the language model."""

import pytest
import torch
from sampling import PROMPT, ksample


@pytest.fixture
def load(host, model_files):
    """A text encoder that remembers, as a new session would load it."""
    return lambda: host.run("LoadELLATextEncoder", text_encoder_name="tiny-t5", prompt_cache=True)[0]


@pytest.fixture
def encode(host):
    return lambda clip, text=PROMPT, max_length=0: host.run(
        "ELLAT5TextEncode", clip=clip, text=text, max_length=max_length
    )[0]


@pytest.mark.parametrize("text", [PROMPT, "", "a (red:1.3) fox"], ids=["prompt", "empty", "weights"])
@pytest.mark.parametrize("max_length", [0, 128])
def test_what_is_remembered_is_what_was_read(load, encode, t5, text, max_length):
    ((fresh, fresh_options),) = encode(t5, text, max_length)
    encode(load(), text, max_length)
    clip = load()
    ((states, options),) = encode(clip, text, max_length)
    assert clip.loaded is None
    assert torch.equal(states, fresh) and states.dtype == fresh.dtype and states.device == fresh.device
    assert options.keys() == fresh_options.keys()
    assert torch.equal(options["pooled_output"], fresh_options["pooled_output"])
    assert options["model_conds"].keys() == fresh_options["model_conds"].keys()


def test_a_known_prompt_is_sampled_without_the_language_model_s_file(host, model, ella, load, encode, model_files, t5):
    encode(load(), "a known prompt")
    clip = load()
    weights = model_files / "ella_encoder/tiny-t5/model.safetensors"
    away = weights.rename(weights.with_suffix(".away"))
    try:
        known = encode(clip, "a known prompt")
        inputs = {"model": model, "ella": ella, "positive": known, "negative": known}
        sampled = ksample(host, *host.run("ELLAApplyConditioning", **inputs), steps=2)
        with pytest.raises(Exception, match="model.safetensors"):
            encode(clip, "a new prompt")
    finally:
        away.rename(weights)
    inputs |= dict.fromkeys(("positive", "negative"), encode(t5, "a known prompt"))
    assert torch.equal(sampled, ksample(host, *host.run("ELLAApplyConditioning", **inputs), steps=2))


def test_other_nodes_see_a_whole_clip(host, load, t5, encode):
    clip = load()
    (core,) = host.run("CLIPTextEncode", clip=clip, text=PROMPT)
    assert torch.equal(core[0][0], encode(t5)[0][0])
    assert clip.cond_stage_model is t5.cond_stage_model, "the weights are shared with the one in use"
    clone = load().clone()
    assert torch.equal(encode(clone)[0][0], core[0][0])
    assert not hasattr(clip, "no_such_attribute")


def test_without_the_input_nothing_is_written(host, encode, t5, monkeypatch, tmp_path):
    import folder_paths

    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))
    encode(host.run("LoadELLATextEncoder", text_encoder_name="tiny-t5", prompt_cache=False)[0], "never seen before")
    assert list(tmp_path.iterdir()) == []
    encode(host.run("LoadELLATextEncoder", text_encoder_name="tiny-t5", prompt_cache=True)[0], "never seen before")
    (entry,) = (tmp_path / "__ella/prompts").iterdir()
    assert entry.suffix == ".safetensors"
