"""The command as people call it, from pictures to a connector's file, with real but random models."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file, save_file

from ella_core import ELLAError, load_connector, new_connector, save_connector
from training.__main__ import main
from training.command import read_command
from training.errors import TrainingError
from training.options import PRESETS
from training.run_folder import RunFolder

if "COMFYUI" not in os.environ:
    pytest.skip("needs COMFYUI; `bash scripts/test.sh training` brings one", allow_module_level=True)

from training.host_base import host_module

host_module("comfy.sd")

from small_runs import same, weights  # noqa: E402
from tiny_data import REPO, cache, make_checkpoint, make_folder, make_text_encoder  # noqa: E402

SMALL = "--preset smoke --resolution 64 --max-length 16 --batch-size 2 --warmup-steps 0 --no-tensorboard --workers 0"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, a language model, pictures, a cache of them, and a connector of one block."""
    folder = tmp_path_factory.mktemp("files")
    checkpoint = make_checkpoint(folder / "checkpoint.safetensors")
    text_encoder = make_text_encoder(folder / "bert")
    pictures = make_folder(folder / "pictures")
    found = cache(checkpoint, text_encoder, pictures, folder / "cache")
    assert found.returncode == 0, found.stderr
    torch.manual_seed(1)
    connector = new_connector("tsc", depth=1, num_queries=4, text_dim=32, time_channels=8, time_dim=16)
    save_connector(connector, folder / "connector.safetensors")
    return folder


@pytest.fixture
def command(files, tmp_path):
    """A function: the arguments of a training, with changes; None leaves an option away."""

    def arguments(steps, **changes):
        given = {"checkpoint": files / "checkpoint.safetensors", "data": files / "cache", "out": tmp_path / "run"}
        given |= {"connector": files / "connector.safetensors", "steps": steps} | changes
        pairs = [(f"--{name.replace('_', '-')}", str(value)) for name, value in given.items() if value is not None]
        return [*SMALL.split(), *(part for pair in pairs for part in pair)]

    return arguments


def said(capsys):
    return capsys.readouterr().err


def test_a_run_from_a_cache_goes_on_bit_for_bit(command, tmp_path):
    assert main(command(4, out=tmp_path / "whole")) == 0
    assert main(command(2)) == 0
    assert main(["--resume", str(tmp_path / "run"), "--steps", "4"]) == 0
    run, whole = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "whole")
    assert run.newest()[0] == 4 and same(weights(run), weights(whole))
    facts = load_connector(run.path / "connector_ema.safetensors").facts
    assert (facts.base, facts.text_encoder.architecture, facts.text_encoder.max_length) == ("sd15", "bert", 16)


def test_a_run_without_a_cache_is_the_same(command, files, tmp_path, capsys):
    assert main(command(2, out=tmp_path / "cached")) == 0
    on_demand = {"data": files / "pictures", "validation_data": files / "pictures", "text_encoder": files / "bert"}
    assert main(command(2, **on_demand, validate_every=2, validation_size=10)) == 0
    assert f"{tmp_path / 'run/connector_ema.safetensors'} is for Load ELLA" in capsys.readouterr().out
    found, expected = (weights(RunFolder(tmp_path / name)) for name in ("run", "cached"))
    assert all(torch.allclose(found[key], expected[key], atol=1e-6) for key in found)


def test_grids_and_validation_are_drawn(command, files, tmp_path):
    more = command(
        1,
        validation_data=files / "cache",
        validation_size=10,
        validate_every=1,
        sample_every=1,
        text_encoder=files / "bert",
    )
    assert main([*more, "--prompts", "a red fox", "a blue teapot"]) == 0
    assert (tmp_path / "run/samples/step-000000001.png").is_file()
    assert (tmp_path / "run/validation.png").is_file()


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"connector": "mpl"}, "which is neither a file nor a kind; give the path of a connector"),
        ({"preset": "sd16"}, "sd16 is no preset; choose one of sd15-paper, sdxl-paper, finetune, smoke"),
        ({"max_length": 128}, "was made with --max-length 16, and the training asks for 128; give --max-length 16"),
        ({"connector": "tsc", "lora_rank": 4}, "--lora-rank is for a trained connector"),
        ({"batch_size": 3, "micro_batch_size": 2}, "give a multiple of 2 as --batch-size"),
    ],
)
def test_what_can_t_be_is_one_sentence(command, capsys, tmp_path, changes, sentence):
    assert main(command(1, **changes)) == 1
    lines = said(capsys).strip().splitlines()
    assert lines[-1].startswith("training: ") and sentence in lines[-1]
    assert not (tmp_path / "run/saves").exists()


def test_wrong_files_are_one_sentence(command, files, capsys):
    assert main(command(1, checkpoint=files / "connector.safetensors")) == 1
    assert "holds no diffusion model that ComfyUI knows" in said(capsys)
    assert main(command(1, data=files / "pictures")) == 1
    assert "no --text-encoder is given" in said(capsys)
    assert main(command(1, connector=files / "checkpoint.safetensors")) == 1
    assert "where an ELLA connector is expected" in said(capsys)


def test_resumed_with_other_options_shows_them(command, capsys, tmp_path):
    assert main(command(1)) == 0
    assert main(["--resume", str(tmp_path / "run"), "--steps", "2", "--learning-rate", "0.5"]) == 1
    assert "was begun with --learning-rate 0.0001 (now 0.5)" in said(capsys)
    assert main(["--resume", str(tmp_path)]) == 1
    assert "holds no run.json" in said(capsys)


def test_skipped_pictures_are_named_and_counted(command, files, capsys, tmp_path):
    pictures = shutil.copytree(files / "pictures", tmp_path / "pictures")
    (pictures / "00.txt").unlink()
    (pictures / "01.png").write_bytes(b"no picture")
    assert main(command(1, data=pictures, text_encoder=files / "bert")) == 0
    assert "skipped 1 picture has no caption: 00.png; 1 picture is corrupt: 01.png" in said(capsys)


def test_a_grid_by_another_language_model_than_the_cache_s_is_refused(command, files, capsys, tmp_path):
    other = shutil.copytree(files / "bert", tmp_path / "other")
    tensors = load_file(other / "model.safetensors")
    save_file({key: tensor.flip(0) for key, tensor in tensors.items()}, other / "model.safetensors", {"format": "pt"})
    assert main([*command(1, text_encoder=other, sample_every=1), "--prompts", "a red fox"]) == 1
    assert "was made with another language model" in said(capsys)
    assert not (tmp_path / "run/saves").exists()


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_the_defaults_of_the_command(name):
    given = ["--preset", name, "--checkpoint", "a", "--data", "b", "--out", "c"]
    assert read_command(given).options == PRESETS[name]
    assert read_command([*given, "--steps", "7"]).options.steps == 7
    with pytest.raises(TrainingError):
        read_command(["--preset", "none"])
    assert issubclass(TrainingError, ELLAError) and "tyro" in sys.modules


def test_no_command_is_told(capsys):
    assert main(["train"]) == 2
    assert "train is no command" in capsys.readouterr().out


def test_ctrl_c_saves_and_resume_goes_on(command, tmp_path):
    """Through the door: a process of its own, the signal of a keyboard, and --resume."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "training", *command(100_000, log_every=1)],
        cwd=REPO,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "run/log.jsonl"
    end = time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) >= 3):
        assert process.poll() is None and time.monotonic() < end, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "--resume with the run's folder, goes on" in said
    stopped, _ = RunFolder(tmp_path / "run").newest()
    assert stopped >= 3
    assert main(["--resume", str(tmp_path / "run"), "--steps", str(stopped + 2)]) == 0
    assert main(command(stopped + 2, out=tmp_path / "whole")) == 0
    assert same(weights(RunFolder(tmp_path / "run")), weights(RunFolder(tmp_path / "whole")))
