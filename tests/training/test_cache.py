"""python -m training cache: what it writes against the host's own nodes, and what interrupts or damages it."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_data import (
    REPO,
    cache,
    cache_command,
    cache_here,
    caption,
    draw,
    environment,
    make_checkpoint,
    make_folder,
    make_text_encoder,
)

from ella_core import load_text_encoder
from ella_core.connectors.facts import TextEncoderFacts
from training.cache_folder import CacheFolder
from training.cached_inputs import CachedInputs, CacheReader
from training.errors import TrainingError


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(checkpoint, text encoder, another text encoder of the same shape)."""
    folder = tmp_path_factory.mktemp("models")
    other = shutil.copytree(make_text_encoder(folder / "bert"), folder / "other")
    weights = load_file(other / "model.safetensors")
    save_file({key: value.flip(0) for key, value in weights.items()}, other / "model.safetensors", {"format": "pt"})
    return make_checkpoint(folder / "sd.safetensors"), folder / "bert", other


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """13 pictures of two sizes with two captions each, one of them corrupt behind its header."""
    folder = make_folder(tmp_path_factory.mktemp("data"), 8, captions=2)
    make_folder(folder / "wide", 5, size=(160, 80), captions=2)
    path = folder / "03.png"
    draw((64, 64), 3).save(path, compress_level=0)
    path.write_bytes(path.read_bytes()[:5000])
    return folder


@pytest.fixture(scope="module")
def whole(models, data, tmp_path_factory):
    """A complete cache, and what the command said."""
    out = tmp_path_factory.mktemp("whole") / "cache"
    result = cache(*models[:2], data, out)
    assert result.returncode == 0, result.stderr
    return out, result.stderr


@pytest.fixture
def copy(whole, tmp_path):
    """A copy of the complete cache, to be damaged."""
    return shutil.copytree(whole[0], tmp_path / "copy")


def content(cache):
    """{name: bytes} of all that counts in a cache."""
    return {str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*.bin")} | {
        str(path.relative_to(cache)): path.read_bytes() for path in cache.rglob("*.json")
    }


def test_what_is_cached_is_what_the_host_and_the_text_encoder_give(models, whole):
    import comfy.sd

    out, said = whole
    assert "skipped 1 picture is corrupt: 03.png" in said and "holds 12 pictures with 24 captions" in said
    _, _, vae = comfy.sd.load_checkpoint_guess_config(str(models[0]), output_clip=False, output_model=False)[:3]
    encoder = load_text_encoder(models[1])
    reader = CachedInputs(out)
    squares = [draw((64, 64), number) for number in range(8) if number != 3]
    # Of 80 x 48, the widest bucket of at most 64 x 64 pixels and 2:1.
    wide = [
        draw((160, 80), number).resize((96, 48), Image.Resampling.BICUBIC).crop((8, 0, 88, 48)) for number in range(5)
    ]
    numbers = [number for number in range(8) if number != 3] + list(range(5))
    items = CacheReader(out)
    for place, (number, image) in enumerate(zip(numbers, squares + wide)):
        pixels = torch.from_numpy(np.array(image)).float()[None] / 255
        with torch.no_grad():
            latents = vae.encode(pixels)[0] * 0.18215
        for line in range(2):
            item = items.item(2 * place + line)
            assert torch.equal(item["latents"], latents), place
            assert torch.equal(item["states"], encoder.encode(caption(number, line), 16)[0])
        original = [64, 64, 0, 0, 64, 64] if place < 7 else [80, 160, 0, 8, 48, 80]
        assert item["sizes"].tolist() == original
    assert torch.equal(reader.empty_states, encoder.encode("", 16))
    facts = TextEncoderFacts("bert", 32, "float32", max_length=16, padding=True)
    assert TextEncoderFacts(**reader.facts) == facts


def test_killed_while_caching_it_goes_on_where_it_was(models, data, whole, tmp_path):
    out = tmp_path / "cache"
    command = cache_command(*models[:2], data, out)
    process = subprocess.Popen(command, cwd=REPO, stderr=subprocess.DEVNULL, env=environment())
    while not list(out.glob("shards/[0-9].json")):
        assert process.poll() is None
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in out.glob("*.bin") if done_shard(out, path)}
    assert not (out / "index.json").exists() and done and len(CacheFolder(out).missing()) > 0
    with pytest.raises(
        TrainingError, match="is not complete .* of 4 shards are missing.*run `python -m training cache`"
    ):
        CachedInputs(out)
    # What the kill may have left: a chunk without its shard's facts, and half a shard aside.
    (out / "chunk-0-3.bin").write_bytes(b"half")
    (out / ".shard-3").mkdir(exist_ok=True)
    (out / ".shard-3/chunk-0-3.bin").write_bytes(b"half")
    result = subprocess.run(command, cwd=REPO, capture_output=True, text=True, env=environment())
    assert result.returncode == 0, result.stderr
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert content(out) == content(whole[0]) and list(out.glob(".shard-*")) == []


def done_shard(out, chunk):
    return (out / f"shards/{chunk.stem.rpartition('-')[2]}.json").exists()


def test_two_processes_write_one_cache(models, data, whole, tmp_path):
    command = cache_command(*models[:2], data, tmp_path / "cache")
    # What `accelerate launch` starts on several GPUs; on a CPU it would start one process.
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    variables = environment() | {"ACCELERATE_USE_CPU": "true"}
    result = subprocess.run([*launch, *command[1:]], cwd=REPO, capture_output=True, text=True, env=variables)
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (tmp_path / "cache").glob("*.bin"))[0].startswith("chunk-0-")
    assert any(path.name.startswith("chunk-1-") for path in (tmp_path / "cache").glob("*.bin"))
    one, two = (next(CachedInputs(path, seed=1).batches(24)) for path in (whole[0], tmp_path / "cache"))
    assert torch.equal(one.latents, two.latents) and torch.equal(one.text_states, two.text_states)


def test_other_settings_and_models_are_refused(models, data, copy, capsys):
    assert cache_here(*models[:2], data, copy, "--max-length", 20) == 1
    said = capsys.readouterr().err
    assert '"max_length": 16' in said and '"max_length": 20' in said and "give --out a new folder" in said
    assert cache_here(models[0], models[2], data, copy) == 1
    assert "another language model" in capsys.readouterr().err
    inputs = CachedInputs(copy)
    inputs.check(vae=inputs.folder.settings["vae"], text_encoder=inputs.facts)
    with pytest.raises(TrainingError, match='made from something else .*"dtype": "float32".*now.*"float16"'):
        inputs.check(text_encoder=inputs.facts | {"dtype": "float16"})
    with pytest.raises(TrainingError, match="vae"):
        inputs.check(vae=inputs.folder.settings["vae"] | {"sha256": "0"})
    with pytest.raises(TrainingError, match="another language model"):
        inputs.folder.check_empty_states(load_text_encoder(models[2]).encode("", 16))


def test_other_pictures_are_refused(models, data, copy, tmp_path, capsys):
    more = shutil.copytree(data, tmp_path / "more")
    (more / "00.txt").write_text("another caption")
    assert cache_here(*models[:2], more, copy) == 1
    assert "pictures_sha256" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("damage", ["gone", "short", "bit"])
def test_a_broken_shard_is_named_and_made_again(models, data, whole, copy, damage, workers):
    path = copy / "chunk-0-1.bin"
    if damage == "gone":
        path.unlink()
    elif damage == "short":
        os.truncate(path, 100)
    else:
        broken = bytearray(path.read_bytes())
        broken[len(broken) // 2] ^= 1
        path.write_bytes(broken)
    found = {"gone": "is missing", "short": "is 100 bytes long", "bit": "is broken"}[damage]
    with pytest.raises(TrainingError, match=f"^The shard chunk-0-1.bin of the cache .* {found}"):
        inputs = CachedInputs(copy, workers=workers)
        batches = inputs.batches(4)
        for _ in range(12):
            next(batches)
    if not workers:
        if damage == "bit":
            path.unlink()
        assert cache_here(*models[:2], data, copy) == 0
        assert content(copy) == content(whole[0])


def test_a_full_disk_leaves_nothing_half_written(models, data, whole, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    out = tmp_path / "cache"
    result = cache(*models[:2], data, out, preexec_fn=limit)
    assert result.returncode == 1 and "can't be written" in result.stderr and "make room" in result.stderr
    assert "Traceback" not in result.stderr
    assert cache_here(*models[:2], data, out) == 0
    assert content(out) == content(whole[0])


def test_what_is_no_checkpoint_or_no_folder_of_ours(models, data, tmp_path, capsys, monkeypatch):
    assert cache_here(models[1] / "model.safetensors", models[1], data, tmp_path / "cache") == 1
    assert "model.safetensors holds no UNet that ComfyUI knows" in capsys.readouterr().err
    assert cache_here(*models[:2], data, tmp_path / "cache", "--shard", 0) == 1
    assert "must be at least 1" in capsys.readouterr().err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/holiday.png").write_bytes(b"")
    with pytest.raises(TrainingError, match="give --out a new or an empty folder"):
        CacheFolder.create(tmp_path / "mine", {})
    with pytest.raises(TrainingError, match="holds no cache.json"):
        CachedInputs(tmp_path / "mine")
    monkeypatch.setenv("COMFYUI", "/nowhere")
    assert cache_here(*models[:2], data, tmp_path / "cache") == 1
    assert "COMFYUI names no ComfyUI" in capsys.readouterr().err


def test_a_cache_of_another_format(copy):
    settings = json.loads((copy / "cache.json").read_text())
    (copy / "cache.json").write_text(json.dumps(settings | {"format": 2}))
    with pytest.raises(TrainingError, match="format 2, and this version reads 1"):
        CachedInputs(copy)
