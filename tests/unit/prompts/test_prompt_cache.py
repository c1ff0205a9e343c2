"""Text states on disk: what is kept comes back bit for bit, and nothing that is wrong with the folder does harm."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ella_core.language_models.encoder_files import find_encoder_files
from ella_core.prompts.prompt_cache import ABANDONED, PromptCache, prompt_key

REPO = Path(__file__).resolve().parents[3]


def states(seed, tokens=17):
    return torch.randn(1, tokens, 32, generator=torch.Generator().manual_seed(seed)).half()


@pytest.fixture
def cache(tmp_path):
    return PromptCache(str(tmp_path / "prompts"))


def files(cache):
    return sorted(os.listdir(cache.folder))


def test_what_was_kept_is_found_again(cache):
    assert cache.find("a") is None and not os.path.exists(cache.folder)
    cache.keep("a", states(1))
    cache.keep("b", states(2))
    assert torch.equal(cache.find("a"), states(1)) and torch.equal(cache.find("b"), states(2))
    assert files(cache) == ["a.safetensors", "b.safetensors"]


def test_the_key_tells_everything_apart():
    keys = [
        prompt_key(*one) for one in [("e", "a", 0), ("f", "a", 0), ("e", "a ", 0), ("e", "a", 128), ("e", "\ufffd", 0)]
    ]
    assert len(set(keys)) == len(keys)
    assert prompt_key("e", "a", 0) == keys[0]


@pytest.mark.parametrize("damage", ["flipped bit", "cut off", "empty", "text", "another tensor"])
def test_a_damaged_entry_is_dropped(cache, damage):
    cache.keep("a", states(1))
    path = Path(cache.path("a"))
    whole = path.read_bytes()
    path.write_bytes(
        {
            "flipped bit": whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:],
            "cut off": whole[:-100],
            "empty": b"",
            "text": b"not a tensor at all",
            "another tensor": whole.replace(b"text_states", b"text_stateZ"),
        }[damage]
    )
    assert cache.find("a") is None
    assert files(cache) == []
    cache.keep("a", states(1))
    assert torch.equal(cache.find("a"), states(1))


def test_the_folder_stays_within_its_bound(tmp_path):
    cache = PromptCache(str(tmp_path), limit=5 * 2000)
    for index in range(10):
        cache.keep(str(index), states(index))
        os.utime(cache.path(str(index)), (index, index))
        assert cache.find("0") is not None, "asked for just now, so it stays"
    assert sum(os.path.getsize(tmp_path / name) for name in files(cache)) <= cache.limit
    assert torch.equal(cache.find("9"), states(9)) and cache.find("1") is None


def test_half_written_files_of_a_killed_process_go(cache):
    cache.keep("a", states(1))
    old, young = (Path(cache.folder) / f"{name}.part" for name in ("old", "young"))
    for part in (old, young):
        part.write_bytes(b"half")
    os.utime(old, (time.time() - ABANDONED - 1,) * 2)
    cache.keep("b", states(2))
    assert not old.exists() and young.exists()


def test_a_folder_that_can_not_be_written_is_only_reported(tmp_path, caplog):
    (tmp_path / "file").write_text("where the folder should be")
    cache = PromptCache(str(tmp_path / "file" / "prompts"))
    cache.keep("a", states(1))
    assert cache.find("a") is None
    assert "could not be written" in caplog.text


WRITER = """
import sys, torch
from ella_core.prompts.prompt_cache import PromptCache

cache = PromptCache(sys.argv[1], limit=20_000)
for turn in range(150):
    seed = turn % 12
    expected = torch.randn(1, 17, 32, generator=torch.Generator().manual_seed(seed)).half()
    found = cache.find(str(seed))
    assert found is None or torch.equal(found, expected)
    cache.keep(str(seed), expected)
print("done")
"""


def test_two_processes_share_a_folder(tmp_path):
    """Both write, read, and drop the same entries, of which not all fit; none ever sees half a file."""
    run = [sys.executable, "-c", WRITER, str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(run, cwd=REPO, **pipes) for _ in range(2)]
    for process in both:
        output, errors = process.communicate(timeout=120)
        assert output == "done\n" and errors == ""
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".part")]


def test_the_identity_is_of_the_files_not_of_their_place(data, tmp_path):
    source = data / "t5_overflow/model.safetensors"
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    for path in (one, two):
        path.write_bytes(source.read_bytes())
        os.utime(path, (1, 1))
    first = find_encoder_files(one).identity()
    assert first == find_encoder_files(two).identity()
    os.utime(two, (2, 2))
    assert first != find_encoder_files(two).identity()
