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
    half, full = torch.float16, torch.float32
    different = [("e", half, "a", 0), ("f", half, "a", 0), ("e", full, "a", 0), ("e", half, "a ", 0)]
    different += [("e", half, "a", 128), ("e", half, "\ufffd", 0)]
    keys = [prompt_key(*one) for one in different]
    assert len(set(keys)) == len(keys)
    assert prompt_key("e", half, "a", 0) == keys[0]


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


def test_a_swapped_entry_is_dropped(cache):
    cache.keep("a", states(1))
    cache.keep("b", states(2))
    os.replace(cache.path("a"), cache.path("b"))
    assert cache.find("b") is None and cache.find("a") is None
    assert files(cache) == []


def test_an_entry_of_another_shape_or_dtype_is_dropped(cache):
    """The same bytes under another shape or dtype are other text states."""
    cache.keep("a", states(1))
    path = Path(cache.path("a"))
    whole = path.read_bytes()
    for found, other in ((b"[1,17,32]", b"[1,32,17]"), (b'"F16"', b'"I16"'), (b'"F16"', b'"BF16"')):
        changed = whole.replace(found, other)
        assert changed != whole
        padding = len(changed) - len(whole)  # the header's length stays
        path.write_bytes(changed.replace(b"}" + b" " * padding, b"}", 1) if padding else changed)
        assert cache.find("a") is None, other
        assert files(cache) == []


@pytest.mark.parametrize(
    "other",
    [
        torch.full((1, 3, 32), float("nan")).half(),
        torch.full((1, 3, 32), float("inf")).half(),
        torch.zeros(1, 3, 32, dtype=torch.int32),
        torch.zeros(3, 32).half(),
        torch.zeros(2, 3, 32).half(),
    ],
    ids=["nan", "inf", "integers", "two dimensions", "two prompts"],
)
def test_what_is_not_finite_or_no_text_states_is_not_kept(cache, other):
    cache.keep("a", other)
    assert cache.find("a") is None and not os.path.exists(cache.folder)


@pytest.mark.parametrize("name", ["x.part", ".tmpx"], ids=["ours", "safetensors'"])
def test_half_written_files_of_a_killed_process_go(cache, name):
    cache.keep("a", states(1))
    old, young, ahead = (Path(cache.folder) / name.replace("x", which) for which in ("old", "young", "ahead"))
    for part, age in ((old, ABANDONED + 1), (young, 0), (ahead, -ABANDONED - 1)):
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age,) * 2)
    cache.keep("b", states(2))
    assert not old.exists() and not ahead.exists() and young.exists()


KILLED = """
import sys, torch
from ella_core.prompts.prompt_cache import PromptCache

cache, states = PromptCache(sys.argv[1]), torch.zeros(1, 4096, 8192).half()
print("go", flush=True)
while True:
    cache.keep("big", states)
"""


def test_what_a_killed_writer_leaves_is_counted_and_goes(tmp_path):
    cache = PromptCache(str(tmp_path), limit=1000)
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], cwd=REPO, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        deadline = time.monotonic() + 60
        while not (left := [name for name in files(cache) if name != "big.safetensors"]):
            assert time.monotonic() < deadline
        writer.kill()
    left = [name for name in files(cache) if name != "big.safetensors"]
    assert left, "it was killed between two files"
    cache.keep("a", states(1))
    assert cache.find("a") is None, "what is left takes the room of its own"
    for name in left:
        os.utime(tmp_path / name, (time.time() - ABANDONED - 1,) * 2)
    PromptCache(str(tmp_path)).keep("a", states(1))
    assert "a.safetensors" in files(cache) and set(files(cache)) <= {"a.safetensors", "big.safetensors"}


def test_a_clock_that_was_ahead_once_does_not_fill_the_cache(tmp_path):
    cache = PromptCache(str(tmp_path), limit=5 * 2000)
    for index in range(5):
        cache.keep(f"ahead {index}", states(index))
        os.utime(cache.path(f"ahead {index}"), (time.time() + 10 * 365 * 86400,) * 2)
    for index in range(5):
        cache.keep(f"now {index}", states(index))
        assert cache.find(f"now {index}") is not None
    assert sum(name.startswith("now") for name in files(cache)) >= 4
    assert sum(os.path.getsize(tmp_path / name) for name in files(cache)) <= cache.limit


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="NO FIFO: this system has no named pipes.")
def test_a_pipe_is_no_entry(cache):
    cache.keep("b", states(2))
    os.mkfifo(cache.path("a"))
    os.mkfifo(os.path.join(cache.folder, ".tmppipe"))
    assert cache.find("a") is None
    cache.keep("a", states(1))
    assert torch.equal(cache.find("a"), states(1))


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
    assert all(name.endswith(".safetensors") for name in os.listdir(tmp_path))


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


def test_the_identity_is_of_the_values_where_a_copy_keeps_the_time(data, tmp_path):
    path = tmp_path / "one.safetensors"
    whole = (data / "t5_overflow/model.safetensors").read_bytes()
    path.write_bytes(whole)
    os.utime(path, (1, 1))
    first = find_encoder_files(path).identity()
    path.write_bytes(whole[: len(whole) // 2] + bytes(byte ^ 1 for byte in whole[len(whole) // 2 :]))
    os.utime(path, (1, 1))
    assert first != find_encoder_files(path).identity()
