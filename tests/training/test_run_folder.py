"""The folder of a run: a kill at every point of a save, a full disk, a second process, damaged saves."""

import json
import os
import resource
import shutil
import signal
import sys

import pytest
from forked import forked
from small_runs import run_small, same, small, weights

from ella_core import load_connector
from training.errors import TrainingError
from training.run_folder import RunFolder

WRITES = ("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.rmtree")


def kill_at(number, folder):
    """From now on this process dies at that operation on files of a folder's saves, as by kill -9."""
    seen = 0

    def watch(event, arguments):
        nonlocal seen
        if event in WRITES and any(str(folder) in str(one) for one in arguments if isinstance(one, (str, os.PathLike))):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)


def test_a_kill_at_any_point_of_a_save_loses_nothing(tmp_path):
    """Every file operation of the steps after the first save is a point to die at; each run then goes on to the end."""
    expected = weights(run_small(tmp_path / "whole", small(steps=4, keep=1)))
    begun = run_small(tmp_path / "begun", small(steps=2, keep=1)).path

    def go_on(run, number):
        kill_at(number, run)
        return run_small(run, small(steps=4, keep=1)).newest()[0]

    points, saved = 0, set()
    for number in range(1, 200):
        run = tmp_path / f"run{number}"
        shutil.copytree(begun, run)
        if forked(lambda run=run, number=number: go_on(run, number)) == "4":
            break
        points += 1
        step, folder = RunFolder(run).newest()
        saved.add(step)
        load_connector(folder / "connector.safetensors")
        load_connector(run / "connector.safetensors")
        again = run_small(run, small(steps=4, keep=1))
        assert same(weights(again), expected), number
        assert list(again.saves()) == [4] and not list(run.glob("**/*.part"))
        shutil.rmtree(run)
    assert points > 20 and saved == {2, 4}


def test_a_full_disk_is_told_and_the_last_save_stays(tmp_path):
    """By the system's limit of a file's size: the connectors fit, the optimizer's state does not."""
    run = run_small(tmp_path / "run", small(steps=2))
    largest = max((run.newest()[1] / name).stat().st_size for name in ("connector.safetensors", "state.json"))
    before = weights(run)

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 100, largest + 100))
        run_small(tmp_path / "run", small(steps=4))

    found = forked(limited)
    assert found.startswith("TrainingError") and "can't be written" in found and "File too large" in found
    assert "its save of step 2 is kept; make room and run the same command again" in found
    assert same(weights(run), before) and list(run.saves()) == [2]
    assert not list(run.path.glob("saves/*.part"))
    assert run_small(tmp_path / "run", small(steps=4)).newest()[0] == 4


def test_a_second_process_is_held_off(tmp_path):
    run = run_small(tmp_path / "run", small(steps=2))
    with run.lock(), pytest.raises(TrainingError, match="Another process is training"):
        run_small(tmp_path / "run", small(steps=4))


def test_old_saves_go_and_the_newest_are_at_the_top(tmp_path):
    run = run_small(tmp_path / "run", small(save_every=1, keep=2))
    assert list(run.saves()) == [5, 6]
    assert same(weights(run), load_connector(run.newest()[1] / "connector.safetensors").state_dict())


def test_only_safetensors_and_json_are_written(tmp_path):
    run = run_small(tmp_path / "run", small(lora_rank=2))
    files = [path for path in run.path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if path.name != "lock"} == {".safetensors", ".json", ".jsonl"}
    for path in files:
        if path.suffix == ".json":
            json.loads(path.read_text())


@pytest.mark.parametrize("name", ["state.json", "optimizer.safetensors", "connector.safetensors"])
def test_a_damaged_save_is_named(tmp_path, name):
    run = run_small(tmp_path / "run", small(steps=2))
    (run.newest()[1] / name).write_bytes(b"{")
    with pytest.raises(TrainingError, match="step-000000002 is damaged"):
        run_small(tmp_path / "run", small(steps=4))


def test_a_folder_of_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(TrainingError, match="holds files but no run.json"):
        run_small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(TrainingError, match="holds no run.json; give --resume the folder"):
        RunFolder(tmp_path)


def test_a_read_only_place_is_told(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(TrainingError, match="give --out a folder that can"):
        run_small(tmp_path / "run")
