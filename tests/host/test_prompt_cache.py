"""Load ELLA Text Encoder with prompt_cache: known prompts are sampled without the language model."""

import copy
import gc
import os
from pathlib import Path

import folder_paths
import pytest
import torch
from safetensors.torch import load_file, save_file
from sampling import PROMPT, ksample


@pytest.fixture
def load(host, own_encoder):
    """A text encoder that remembers, as a new session would load it: no other CLIP of it is in use."""

    def load_anew():
        gc.collect()
        return host.run("LoadELLATextEncoder", text_encoder_name=own_encoder, prompt_cache=True)[0]

    return load_anew


@pytest.fixture
def is_read(host):
    """Whether the weights of a CLIP's text encoder were read."""
    return lambda clip: host.core("host.clip").encoder_of(clip).has_weights


def graph(encoder, text):
    """An API prompt from the files to a latent."""
    return {
        "te": {"class_type": "LoadELLATextEncoder", "inputs": {"text_encoder_name": encoder, "prompt_cache": True}},
        "prompt": {"class_type": "ELLAT5TextEncode", "inputs": {"clip": ["te", 0], "text": text, "max_length": 0}},
        "ella": {"class_type": "LoadELLA", "inputs": {"ella_name": "tiny.safetensors"}},
        "ckpt": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny.safetensors"}},
        "apply": {
            "class_type": "ELLAApplyConditioning",
            "inputs": {"model": ["ckpt", 0], "ella": ["ella", 0], "positive": ["prompt", 0], "negative": ["prompt", 0]},
        },
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "sample": {
            "class_type": "KSampler",
            "inputs": {
                **{"model": ["apply", 0], "positive": ["apply", 1], "negative": ["apply", 2]},
                **{"latent_image": ["latent", 0], "seed": 1, "steps": 1, "cfg": 2.0, "denoise": 1.0},
                **{"sampler_name": "euler", "scheduler": "normal"},
            },
        },
        "save": {"class_type": "SaveLatent", "inputs": {"samples": ["sample", 0], "filename_prefix": "cached"}},
    }


def latent_of(outputs):
    (saved,) = outputs["save"]["latents"]
    return load_file(Path(folder_paths.get_output_directory()) / saved["subfolder"] / saved["filename"])[
        "latent_tensor"
    ]


def test_the_executor_runs_a_known_prompt_without_reading_the_weights(host, model_files, own_encoder, is_read):
    """Queued twice, as by two sessions: the executor looks at each output, and yet only the first one reads weights."""
    text = f"a prompt for {own_encoder}"
    ends = []
    for run_text in (text, text, text + ", and more"):
        gc.collect()  # of the session before
        # The clip of the run's own loader, which shares its weights, tells whether they were read by the end of it.
        clip = host.run("LoadELLATextEncoder", text_encoder_name=own_encoder, prompt_cache=True)[0]
        ends.append((latent_of(host.execute(graph(own_encoder, run_text))), is_read(clip)))
        del clip
    (first, read), (second, read_again), (third, read_new) = ends
    assert read and not read_again and read_new
    assert torch.equal(first, second) and not torch.equal(first, third)


def test_nothing_that_can_be_looked_at_reads_the_weights(load, is_read):
    import comfy.lora
    import comfy.model_patcher

    clip = load()
    for thing in (clip, clip.clone(), clip.patcher, clip.cond_stage_model, clip.tokenizer):
        for name in dir(thing):
            getattr(thing, name, None)
        repr(thing), vars(thing), hasattr(thing, "get_models")
    if hasattr(comfy.model_patcher, "PromptModelTracker"):  # what newer executors ask of each output
        comfy.model_patcher.PromptModelTracker().add([clip, [clip]])
    assert isinstance(clip.patcher, comfy.model_patcher.ModelPatcher)
    sizes = [weight.numel() for weight in clip.cond_stage_model.state_dict().values()]
    assert clip.patcher.model_size() == 2 * sum(sizes), "float16, known from the header"
    assert clip.patcher.loaded_size() == 0 and not clip.patcher.is_dynamic()
    assert clip.cond_stage_model.state_dict() and comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {}) is not None
    assert clip.tokenize("a prompt") and copy.copy(clip).patcher is clip.patcher
    assert not is_read(clip)


def test_whoever_needs_the_weights_gets_them(host, load, is_read, t5):
    """The host's loading, merging of weights, and nodes that run the model past the host."""
    import comfy.model_management

    doors = {
        "loads": lambda clip: comfy.model_management.load_models_gpu([clip.patcher]),
        "merges": lambda clip: clip.clone().get_key_patches(),
        "runs": lambda clip: clip.cond_stage_model.encode_token_weights(clip.tokenize("a")),
    }
    expected = t5.cond_stage_model.state_dict()
    for name, door in doors.items():
        clip = load()
        assert not is_read(clip), name
        door(clip)
        assert is_read(clip), name
        found = clip.cond_stage_model.state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[key].cpu(), expected[key].cpu()) for key in found), name
        del clip


def test_the_states_are_kept_under_the_weights_that_were_read(host, load, encode, model_files, own_encoder):
    """The file changes between the loader and the prompt: what is kept is of the new weights, under their identity."""
    old = load()
    path = model_files / "ella_encoder" / own_encoder / "model.safetensors"
    original, weights, status = path.read_bytes(), load_file(path), path.stat()
    weights["encoder.final_layer_norm.weight"] = weights["encoder.final_layer_norm.weight"] * 2
    save_file(weights, path, {"format": "pt"})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    doubled = encode(old, "a fox in the rain")[0][0]
    changed = path.read_bytes()
    for content, expected in ((original, False), (changed, True)):
        path.write_bytes(content)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        again = host.run("LoadELLATextEncoder", text_encoder_name=own_encoder)[0]
        assert torch.equal(encode(again, "a fox in the rain")[0][0], doubled) == expected
        del again
    del old
    gc.collect()
    clip = load()
    assert torch.equal(encode(clip, "a fox in the rain")[0][0], doubled)
    assert not host.core("host.clip").encoder_of(clip).has_weights, "found under the identity of the new weights"


@pytest.fixture
def encode(host):
    return lambda clip, text=PROMPT, max_length=0: host.run(
        "ELLAT5TextEncode", clip=clip, text=text, max_length=max_length
    )[0]


@pytest.mark.parametrize("text", [PROMPT, "", "a (red:1.3) fox"], ids=["prompt", "empty", "weights"])
@pytest.mark.parametrize("max_length", [0, 128])
def test_what_is_remembered_is_what_was_read(load, encode, t5, is_read, text, max_length):
    ((fresh, fresh_options),) = encode(t5, text, max_length)
    encode(load(), text, max_length)
    clip = load()
    ((states, options),) = encode(clip, text, max_length)
    assert not is_read(clip)
    assert torch.equal(states, fresh) and states.dtype == fresh.dtype and states.device == fresh.device
    assert options.keys() == fresh_options.keys()
    assert torch.equal(options["pooled_output"], fresh_options["pooled_output"])
    assert options["model_conds"].keys() == fresh_options["model_conds"].keys()


def test_a_known_prompt_is_sampled_without_the_language_model_s_file(
    host, model, ella, load, encode, model_files, own_encoder, t5
):
    encode(load(), "a known prompt")
    clip = load()
    weights = model_files / "ella_encoder" / own_encoder / "model.safetensors"
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
    assert load().cond_stage_model is clip.cond_stage_model, "the weights are shared with the one in use"
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
