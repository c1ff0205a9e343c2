"""The loop on small parts: what gets gradients, what a run that goes on is, and what its folder holds."""

import dataclasses

import pytest
import torch
from small_parts import RandomPictures, SmallBase, small_connector

from ella_core import load_connector
from training.loop import train
from training.options import PRESETS

SMALL = dataclasses.replace(
    PRESETS["smoke"], steps=6, batch_size=8, micro_batch_size=4, warmup_steps=2, save_every=2, tensorboard=False
)


def small(**changes):
    return dataclasses.replace(SMALL, **changes)


def run_small(out, options=SMALL, connector=None, data=None, **more):
    connector = small_connector() if connector is None else connector
    return train(options, SmallBase(), connector, data or RandomPictures(), out, progress=False, **more)


def weights(run, name="connector.safetensors"):
    return load_connector(run.path / name).state_dict()


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in found)


@pytest.mark.parametrize(
    "changes", [{}, {"schedule": "cosine"}, {"min_snr": 5.0, "noise_offset": 0.1}, {"lora_rank": 2}, {"ema_decay": 0.0}]
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, changes):
    whole = run_small(tmp_path / "whole", small(**changes))

    class Stopping(RandomPictures):
        def batches(self, *arguments):
            for number, batch in enumerate(super().batches(*arguments)):
                if number == 9:  # in the middle of a step, after the save of step 4
                    raise RuntimeError("stopped")
                yield batch

    with pytest.raises(RuntimeError, match="stopped"):
        run_small(tmp_path / "parts", small(**changes), data=Stopping())
    parts = run_small(tmp_path / "parts", small(**changes), connector=small_connector(seed=7))
    assert_same(weights(parts), weights(whole))
    if "ema_decay" not in changes:
        assert_same(weights(parts, "connector_ema.safetensors"), weights(whole, "connector_ema.safetensors"))
    assert parts.lines("log.jsonl")[-1]["step"] == 6


def test_a_training_changes_the_connector(tmp_path):
    run = run_small(tmp_path / "run")
    before, after = small_connector().state_dict(), weights(run)
    assert all(not torch.equal(before[key], after[key]) for key in before)
    average = weights(run, "connector_ema.safetensors")
    assert all(not torch.equal(average[key], after[key]) for key in before)
