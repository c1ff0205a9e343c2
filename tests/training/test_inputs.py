"""Batches from a cache and without one: the same, and from any position on the same, on any number of processes."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import random_models
import torch
from tiny_data import REPO, as_json, cache_here, draw, environment, make_checkpoint, make_folder, make_text_encoder

from training.buckets import make_buckets
from training.cached_inputs import CachedInputs
from training.encoded_inputs import EncodedInputs
from training.encoding import Encoding
from training.errors import TrainingError
from training.host_vae import HostVAE, vae_facts
from training.pictures import open_pictures


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(checkpoint, text encoder, data, cache, cache of flexible length)."""
    folder = tmp_path_factory.mktemp("made")
    checkpoint, text_encoder = make_checkpoint(folder / "sd.safetensors"), make_text_encoder(folder / "bert")
    data = make_folder(folder / "data", 7, captions=3)
    make_folder(data / "wide", 3, size=(160, 80))
    (data / "00.txt").write_text("a fox")
    for name, length in (("cache", 16), ("flexible", 0)):
        assert cache_here(checkpoint, text_encoder, data, folder / name, "--max-length", length) == 0
    return checkpoint, text_encoder, data, folder / "cache", folder / "flexible"


@pytest.fixture(scope="module")
def encoding(made):
    return Encoding(made[0], made[1], 16)


def encoded(made, encoding, seed=5, workers=0):
    pictures, skipped = open_pictures(made[2])
    assert skipped == []
    return EncodedInputs(pictures, make_buckets(64, 8), encoding, seed, workers)


def first(inputs, count, batch_size=4, rank=0, world_size=1):
    return list(itertools.islice(inputs.batches(batch_size, rank, world_size), count))


def same(ones, others):
    return len(ones) == len(others) and all(
        torch.equal(one.latents, other.latents)
        and torch.equal(one.sizes, other.sizes)
        and len(one.text_states) == len(other.text_states)
        and all(torch.equal(a, b) for a, b in zip(one.text_states, other.text_states))
        for one, other in zip(ones, others)
    )


def test_a_cache_gives_what_encoding_on_demand_gives(made, encoding):
    cached, on_demand = CachedInputs(made[3], seed=5), encoded(made, encoding)
    assert same(first(cached, 12), first(on_demand, 12))
    assert cached.facts == on_demand.facts and torch.equal(cached.empty_states, on_demand.empty_states)
    assert len(cached) == len(on_demand) == 10 and cached.state_dict() == on_demand.state_dict()
    cached.check_encoding(encoding)
    with pytest.raises(TrainingError, match='"max_length": 16.*now.*"max_length": null'):
        cached.check_encoding(Encoding(made[0], made[1], 0))


def test_a_flexible_length_gives_a_list(made):
    encoding = Encoding(made[0], made[1], 0)
    inputs = CachedInputs(made[4], seed=5)
    batches = first(inputs, 4, batch_size=8)
    batch = next(one for one in batches if isinstance(one.text_states, list))
    assert len({one.shape[1] for one in batch.text_states}) > 1
    assert all(one.shape[0] == 1 and one.shape[2] == 32 for one in batch.text_states)
    assert torch.equal(inputs.empty_states, encoding.text_states(""))
    assert inputs.facts["max_length"] is None and not inputs.facts["padding"]
    assert same(batches, first(encoded(made, encoding), 4, batch_size=8))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("source", ["cache", "on demand"])
def test_a_resumed_run_sees_the_very_next_sample(made, encoding, source, world_size, workers):
    def opened():
        return CachedInputs(made[3], 5, workers) if source == "cache" else encoded(made, encoding, 5, workers)

    stops = (1, 5, 9) if source == "cache" and not workers else (3,)
    for rank in range(world_size):
        whole = first(opened(), 14, 4, rank, world_size)
        for stop in stops:
            inputs = opened()
            begun = first(inputs, stop, 4, rank, world_size)
            resumed = opened()
            resumed.load_state_dict(as_json(inputs.state_dict()))
            rest = first(resumed, 14 - stop, 4, rank, world_size)
            assert same(begun + rest, whole), (rank, stop)
            # The same object goes on as well.
            assert same(first(inputs, 2, 4, rank, world_size), whole[stop : stop + 2])


def test_processes_share_what_one_sees(made):
    alone = first(CachedInputs(made[3], 5), 12, 2)
    inputs = [CachedInputs(made[3], 5) for _ in range(3)]
    shared = [first(one, 4, 2, rank, 3) for rank, one in enumerate(inputs)]
    assert same(alone, [batch for together in zip(*shared) for batch in together])
    assert inputs[0].state_dict() == inputs[1].state_dict() == inputs[2].state_dict()
    # Begun by three processes, it goes on with two.
    others = [CachedInputs(made[3], 5) for _ in range(2)]
    for one in others:
        one.load_state_dict(as_json(inputs[0].state_dict()))
    shared = [first(one, 3, 2, rank, 2) for rank, one in enumerate(others)]
    assert same(first(CachedInputs(made[3], 5), 18, 2)[12:], [batch for pair in zip(*shared) for batch in pair])


def test_batches_leave_the_random_numbers_of_the_training_alone(made, encoding):
    for inputs in (CachedInputs(made[3], 5, 2), encoded(made, encoding)):
        torch.manual_seed(3)
        before = torch.get_rng_state()
        first(inputs, 3)
        assert torch.equal(torch.get_rng_state(), before)


def test_sdxl_scales_its_latents_otherwise(made, tmp_path):
    sdxl = HostVAE(make_checkpoint(tmp_path / "sdxl.safetensors", unet=random_models.SDXL_UNET))
    pixels = torch.rand(64, 48, 3, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(sdxl.encode(pixels), sdxl.vae.encode(pixels[None]) * 0.13025)
    assert sdxl.facts["latents"] == "SDXL" and sdxl.facts["sha256"] == vae_facts(made[0])["sha256"]
    with pytest.raises(TrainingError, match='vae.*"SD15".*now.*"SDXL"'):
        CachedInputs(made[3]).check(vae=sdxl.facts)


def test_t5_is_read_in_float16_throughout(made, tmp_path):
    for name in ("config.json", "model.safetensors"):
        shutil.copy(REPO / "tests/data/t5_overflow" / name, tmp_path)
    shutil.copy(Path(os.environ["COMFYUI"]) / "comfy/text_encoders/t5_tokenizer/tokenizer.json", tmp_path)
    encoding = Encoding(made[0], tmp_path, 128)
    states = encoding.text_states("a red fox")
    assert states.dtype == torch.float16 and states.shape == (1, 128, 32)
    assert encoding.facts["architecture"] == "t5" and encoding.facts["dtype"] == "float16"


def test_text_states_that_are_not_finite_are_refused(made):
    encoding = Encoding(made[0], made[1], 16)
    encoding.text_encoder.model.embeddings.word_embeddings.weight.fill_(float("nan"))
    with pytest.raises(TrainingError, match='not finite for the prompt that begins with "a red fox"'):
        encoding.text_states("a red fox")


def test_latents_can_be_trained_on(made, encoding):
    for inputs in (CachedInputs(made[3], 5), encoded(made, encoding)):
        (batch,) = first(inputs, 1)
        weight = torch.ones((), requires_grad=True)
        (batch.latents * weight).sum().backward()
        (batch.text_states * weight).square().sum().backward()
        assert weight.grad is not None and batch.latents.dtype == torch.float32


def test_all_captions_are_seen_and_pictures_equally_often(made):
    inputs = CachedInputs(made[3], 5)
    seen = {}
    for batch in first(inputs, 60, 5):  # 300 samples of 10 pictures
        for latents, states in zip(batch.latents, batch.text_states):
            texts = seen.setdefault(latents.numpy().tobytes(), {})
            key = states.numpy().tobytes()
            texts[key] = texts.get(key, 0) + 1
    assert sorted(len(texts) for texts in seen.values()) == [1, 1, 1, 1, 3, 3, 3, 3, 3, 3]
    assert all(28 <= sum(texts.values()) <= 32 for texts in seen.values())
    assert all(max(texts.values()) - min(texts.values()) <= 1 for texts in seen.values())


LOADED = """
import socket, sys
asked = []
socket.getaddrinfo = lambda *arguments, **options: asked.append(arguments)
sys.path.insert(0, {comfyui!r})
sys.path.append({repo!r})
from training.cached_inputs import CachedInputs
next(CachedInputs({cache!r}).batches(4))
print(sorted({{"comfy", "transformers", "nodes"}} & set(sys.modules)), asked)
"""


def test_from_a_cache_neither_host_nor_language_model_is_loaded_and_nobody_is_asked(made):
    code = LOADED.format(comfyui=os.environ["COMFYUI"], repo=str(REPO), cache=str(made[3]))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert result.stdout == "[] []\n", result.stderr


def test_corrupt_pictures_on_demand_are_replaced_named_and_counted(tmp_path, encoding, capsys):
    data = make_folder(tmp_path, 5)
    draw((64, 64), 3).save(data / "03.png", compress_level=0)
    (data / "03.png").write_bytes((data / "03.png").read_bytes()[:5000])
    pictures, _ = open_pictures(data)
    inputs = EncodedInputs(pictures, make_buckets(64, 8), encoding, seed=2)
    (batch,) = first(inputs, 1, 5)
    assert inputs.skipped == ["03.png"]
    assert len({latents.numpy().tobytes() for latents in batch.latents}) == 4
    first(inputs, 2, 5)
    assert inputs.skipped == ["03.png"]
    assert capsys.readouterr().err.count("skipped 03.png, which is corrupt") == 1
    pictures = [one for one in pictures if one.name == "03.png"]
    with pytest.raises(TrainingError, match="All 1 pictures .* are corrupt .first: 03.png"):
        first(EncodedInputs(pictures, make_buckets(64, 8), encoding), 1, 1)


def test_a_position_of_other_data_is_refused(made, encoding):
    state = CachedInputs(made[3], 5).state_dict()
    with pytest.raises(TrainingError, match="resume with the data and seed of the run"):
        CachedInputs(made[3], 6).load_state_dict(state)
    data = [one for one in open_pictures(made[2])[0] if one.size == (64, 64)]
    with pytest.raises(TrainingError, match="2 buckets, and the data has seed 5 and 1 bucket"):
        EncodedInputs(data, make_buckets(64, 8), encoding, 5).load_state_dict(state)
