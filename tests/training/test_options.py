"""Presets have the paper's figures, and options that can't be are refused in one place."""

import dataclasses
import math
import sys

import pytest
import torch

from training.__main__ import main
from training.errors import TrainingError
from training.optimizer import learning_rate, new_optimizer
from training.options import FREE_TO_CHANGE, PRESETS, Options, check_options, micro_batches


def test_the_paper_s_presets():
    """arXiv 2403.05135, sections 3.2 and 5.1; the second group is inferred, as docs/training.md says."""
    sd15, sdxl = PRESETS["sd15-paper"], PRESETS["sdxl-paper"]
    published = {"steps": 280_000, "weight_decay": 0.01, "schedule": "constant", "max_length": 128, "resolution": 512}
    inferred = {"batch_size": 256, "warmup_steps": 1000, "clip": 1.0, "drop_prompt": 0.1, "optimizer": "adamw"}
    for preset in (sd15, sdxl):
        assert published | inferred == {name: getattr(preset, name) for name in published | inferred}
        assert preset.min_snr == preset.noise_offset == preset.lora_rank == 0
    assert (sd15.learning_rate, sdxl.learning_rate) == (1e-4, 1e-5)


def test_the_optimizer_is_the_recipe_s():
    group = new_optimizer([torch.nn.Parameter(torch.zeros(1))], Options()).param_groups[0]
    assert (group["betas"], group["eps"], group["weight_decay"], group["lr"]) == ((0.9, 0.999), 1e-8, 0.01, 1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_run(name):
    for processes in (1, 2):
        check_options(PRESETS[name], processes)


def test_warm_up_and_cosine():
    constant = Options(learning_rate=1.0, warmup_steps=1000)
    assert [learning_rate(constant, step) for step in (0, 500, 1000, 200_000)] == pytest.approx([0.1, 0.55, 1, 1])
    cosine = dataclasses.replace(constant, schedule="cosine", steps=3000)
    found = [learning_rate(cosine, step) for step in (0, 1000, 1500, 2000, 3000)]
    assert found == pytest.approx([0.1, 1, 0.5 + math.sqrt(0.5) / 2, 0.5, 0])


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"steps": 0}, "--steps is 0; give a number of at least 1"),
        ({"learning_rate": 0.0}, "--learning-rate is 0.0; give a number above 0"),
        ({"drop_prompt": 1.5}, "--drop-prompt is 1.5; give a number from 0 to below 1"),
        ({"ema_decay": 1.0}, "--ema-decay is 1.0; give a number from 0 to below 1"),
        ({"schedule": "cosine", "steps": 500}, "leaves the cosine no step"),
        ({"batch_size": 12, "micro_batch_size": 8}, "can't cut into micro-batches of 8; give a multiple of 8"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan"),
    ],
)
def test_conflicts(changes, sentence):
    with pytest.raises(TrainingError, match=sentence):
        check_options(Options(**changes))


def test_a_step_is_cut_into_micro_batches():
    options = Options(batch_size=32, micro_batch_size=4)
    assert [micro_batches(options, processes) for processes in (1, 2, 8)] == [(4, 8), (4, 4), (4, 1)]
    assert micro_batches(Options(batch_size=32, micro_batch_size=0), 2) == (16, 1)
    with pytest.raises(TrainingError, match="3 processes can't cut"):
        micro_batches(options, 3)


def test_8_bit_adam_says_what_it_needs():
    if pytest.importorskip("importlib.util").find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed here")
    with pytest.raises(TrainingError, match="pip install bitsandbytes"):
        new_optimizer([torch.nn.Parameter(torch.zeros(1))], Options(optimizer="adamw8bit"))


def test_what_may_change_is_named_as_options_are():
    assert FREE_TO_CHANGE < {field.name for field in dataclasses.fields(Options)}


def test_a_missing_library_is_one_sentence(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    monkeypatch.delitem(sys.modules, "training.command", raising=False)
    assert main(["--preset", "smoke"]) == 1
    assert capsys.readouterr().err == "training: tyro is not installed; run `pip install .[training]` in the clone.\n"
