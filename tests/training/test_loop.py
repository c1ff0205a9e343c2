"""The loop on small parts: what gets gradients, what a run that goes on is, and what it stops for."""

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from forked import forked
from small_parts import FACTS, TEXT_DIM, WIDTH, RandomPictures, SmallBase, small_connector
from small_runs import SMALL, run_small, same, small, weights

from ella_core import load_connector, save_connector
from ella_core.errors import ELLAError
from training.errors import TrainingError
from training.options import PRESETS
from training.validation import Validation

REPO = Path(__file__).resolve().parents[2]


class Stopping(RandomPictures):
    """Fails in the middle of step 5, after the save of step 4."""

    def batches(self, *arguments):
        for number, batch in enumerate(super().batches(*arguments)):
            if number == 9:
                raise RuntimeError("stopped")
            yield batch


@pytest.mark.parametrize(
    "changes", [{}, {"schedule": "cosine"}, {"min_snr": 5.0, "noise_offset": 0.1}, {"lora_rank": 2}, {"ema_decay": 0.0}]
)
def test_stopped_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, changes):
    whole = run_small(tmp_path / "whole", small(**changes))
    with pytest.raises(RuntimeError, match="stopped"):
        run_small(tmp_path / "parts", small(**changes), data=Stopping())
    # The weights that it begins with do not matter then, but those that a LoRA is put on.
    seed = 7 if "lora_rank" in changes else 8
    parts = run_small(tmp_path / "parts", small(**changes), connector=small_connector(seed=seed))
    assert same(weights(parts), weights(whole))
    if "ema_decay" not in changes:
        assert same(weights(parts, "connector_ema.safetensors"), weights(whole, "connector_ema.safetensors"))
    assert [line["step"] for line in parts.lines("log.jsonl")] == [line["step"] for line in whole.lines("log.jsonl")]


def test_texts_of_different_lengths_resume_as_well(tmp_path):
    whole = run_small(tmp_path / "whole", data=RandomPictures(flexible=True))
    run_small(tmp_path / "parts", small(steps=4), data=RandomPictures(flexible=True))
    parts = run_small(tmp_path / "parts", data=RandomPictures(flexible=True))
    assert same(weights(parts), weights(whole))


def test_gradients_reach_the_connector_only(tmp_path):
    """Every weight of the connector moves; the UNet and a language model in the same process stay bit for bit."""
    base, language_model = SmallBase(), torch.nn.Linear(3, TEXT_DIM)

    class ReadWhileTraining(RandomPictures):
        def batches(self, *arguments):
            for batch in super().batches(*arguments):
                of_prompt = language_model(torch.ones(1, 1, 3))
                yield dataclasses.replace(batch, text_states=batch.text_states + of_prompt.detach())

    before = [{key: one.clone() for key, one in model.state_dict().items()} for model in (base.module, language_model)]
    run = run_small(tmp_path / "run", base=base, data=ReadWhileTraining())
    for model, kept in zip((base.module, language_model), before):
        assert same(model.state_dict(), kept) and all(weight.grad is None for weight in model.parameters())
    start, after = small_connector().state_dict(), weights(run)
    average = weights(run, "connector_ema.safetensors")
    assert all(not torch.equal(start[key], after[key]) and not torch.equal(average[key], after[key]) for key in start)


def test_micro_batches_change_rounding_alone(tmp_path):
    """Sums in another order, which AdamW divides by gradients that are next to nothing (1.3e-5 measured)."""
    whole, cut = (run_small(tmp_path / str(micro), small(micro_batch_size=micro)) for micro in (8, 2))
    assert farthest(weights(whole), weights(cut)) < 5e-5


def farthest(found, expected):
    return max(float((found[key] - expected[key]).abs().max()) for key in found)


def test_two_processes_equal_one(tmp_path):
    """With gloo, at the same batch of a step; gradients are summed in another order."""
    one = run_small(tmp_path / "one")
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        [*command, script, tmp_path / "two"], env=environment, capture_output=True, text=True, timeout=120
    )
    assert found.returncode == 0, found.stderr
    assert "2 processes" in found.stdout
    two = load_connector(tmp_path / "two/connector.safetensors").state_dict()
    assert farthest(two, weights(one)) < 1e-5
    assert not same(two, small_connector().state_dict())


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_a_smoke_training_lowers_the_validation_loss(tmp_path, seed):
    """By 6 % in 200 steps, on pictures that it never saw (8.1 to 9.3 % measured over these seeds).

    The frozen UNet is random, so the rest of its loss is beyond a connector's reach.
    """
    base, connector = SmallBase(), small_connector(seed=seed)
    validation = Validation(base, RandomPictures(seed=99), 256, 32)
    before = validation.measure(connector)
    options = dataclasses.replace(PRESETS["smoke"], seed=seed, learning_rate=3e-3, tensorboard=False)
    run = run_small(tmp_path / "run", options, connector, base=base, validate=validation)
    lines = run.lines("validation.jsonl")
    assert [line["step"] for line in lines] == [100, 200] and len(lines[0]["bands"]) == 10
    assert lines[-1]["loss"] < 0.94 * sum(before) / len(before)
    assert (run.path / "validation.png").stat().st_size > 10_000


def test_a_validation_measures_the_same_thing_each_time():
    validation = Validation(SmallBase(), RandomPictures(), 64, 16)
    assert validation.measure(small_connector()) == validation.measure(small_connector())


def test_a_lora_moves_linear_layers_alone_and_becomes_a_plain_connector(tmp_path):
    run = run_small(tmp_path / "run", small(lora_rank=2))
    start, after = load_connector(run.path / "start.safetensors").state_dict(), weights(run)
    moved = {key for key in start if not torch.equal(start[key], after[key])}
    linears = {name + ".weight" for name, one in small_connector().named_modules() if isinstance(one, torch.nn.Linear)}
    assert moved == linears
    ranks = {
        int(torch.linalg.matrix_rank(after[key].double() - start[key].double(), rtol=1e-4)) for key in sorted(linears)
    }
    assert max(ranks) <= 2


# ---- what it stops for


def test_nan_stops_with_the_last_good_connector(tmp_path):
    class Broken(RandomPictures):
        def batches(self, *arguments):
            for number, batch in enumerate(super().batches(*arguments)):
                yield dataclasses.replace(batch, latents=batch.latents / 0) if number == 7 else batch

    with pytest.raises(TrainingError, match="loss of step 4 is not finite, and the connector before it is kept"):
        run_small(tmp_path / "run", data=Broken())
    good = run_small(tmp_path / "good", small(steps=3))
    kept = load_connector(tmp_path / "run/connector.safetensors").state_dict()
    assert same(kept, weights(good))


def test_an_interrupt_ends_the_step_and_saves(tmp_path):
    class Interrupted(RandomPictures):
        def batches(self, *arguments):
            for number, batch in enumerate(super().batches(*arguments)):
                if number == 4:
                    os.kill(os.getpid(), signal.SIGINT)
                yield batch

    with pytest.raises(KeyboardInterrupt):
        run_small(tmp_path / "run", data=Interrupted())
    assert (tmp_path / "run/saves/step-000000003").is_dir()
    assert same(weights(run_small(tmp_path / "run")), weights(run_small(tmp_path / "whole")))


def test_a_full_memory_names_the_options_to_lower(tmp_path):
    class Greedy(SmallBase):
        def predict(self, noisy_latents, *arguments):
            return super().predict(noisy_latents, *arguments) + torch.empty(2**46).sum()

    with pytest.raises(TrainingError, match="micro-batches of 4; lower --micro-batch-size or switch --gradient"):
        run_small(tmp_path / "run", base=Greedy())


@pytest.mark.parametrize(
    "sizes, sentence",
    [
        ({"width": 2 * WIDTH}, "makes tokens of width 32, and the UNet of the checkpoint .small. attends to width 16"),
        ({"text_dim": 5}, "reads text states of width 5, and those of the data are 12 wide"),
    ],
)
def test_a_connector_that_does_not_fit_is_refused(tmp_path, sizes, sentence):
    with pytest.raises(TrainingError, match=sentence):
        run_small(tmp_path / "run", connector=small_connector(**sizes))
    assert not (tmp_path / "run").exists()


def test_a_connector_of_another_language_model_is_refused(tmp_path):
    save_connector(small_connector(), tmp_path / "other.safetensors", text_encoder=FACTS | {"dtype": "float32"})
    with pytest.raises(TrainingError, match="trained with text states of dtype float32, and the data has float16"):
        run_small(tmp_path / "run", connector=load_connector(tmp_path / "other.safetensors"))


def test_resumed_with_other_settings_shows_the_difference(tmp_path):
    run_small(tmp_path / "run", small(steps=2))
    with pytest.raises(TrainingError, match=r"begun with --learning-rate 0.0001 \(now 0.002\), --seed 1001 \(now 5\)"):
        run_small(tmp_path / "run", small(learning_rate=0.002, seed=5))
    with pytest.raises(TrainingError, match=r"prediction.: .eps.*\(now .*.prediction.: .v"):
        run_small(tmp_path / "run", base=SmallBase("v"))
    run = run_small(tmp_path / "run", small(steps=3, micro_batch_size=8, save_every=1))
    assert run.newest()[0] == 3 and run.options.steps == 3


def test_a_run_that_is_done_stays_as_it_is_and_fewer_steps_are_refused(tmp_path):
    run = run_small(tmp_path / "run", small(steps=4))
    before = weights(run)
    assert same(weights(run_small(tmp_path / "run", small(steps=4))), before)
    with pytest.raises(TrainingError, match="is at step 4 already, and --steps is 2; ask for more steps"):
        run_small(tmp_path / "run", small(steps=2))


def test_a_cosine_has_its_end_in_its_settings(tmp_path):
    run_small(tmp_path / "run", small(schedule="cosine"))
    with pytest.raises(TrainingError, match="where its cosine ends"):
        run_small(tmp_path / "run", small(schedule="cosine", steps=9))


def test_facts_are_in_the_connector_file(tmp_path):
    facts = load_connector(run_small(tmp_path / "run").path / "connector_ema.safetensors").facts
    assert facts.base == "small" and facts.text_encoder.max_length == 6 and facts.text_encoder.padding
    assert facts.training["steps"] == 6 and facts.training["training_options"] == dataclasses.asdict(SMALL)
    assert facts.training["average_of_weights"] is True
    assert issubclass(TrainingError, ELLAError)


def test_bfloat16_leaves_weights_and_files_in_float32(tmp_path):
    def run_in_bfloat16():
        AcceleratorState._reset_state(True)
        run = run_small(tmp_path / "run", small(mixed_precision="bf16"))
        return {one.dtype for one in weights(run).values()}

    assert forked(run_in_bfloat16) == "{torch.float32}"
    found = load_connector(tmp_path / "run/connector.safetensors").state_dict()
    exact = weights(run_small(tmp_path / "exact"))
    assert not same(found, exact) and farthest(found, exact) < 1e-3  # six steps of at most 1e-4


def test_tensorboard_gets_the_log(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = run_small(tmp_path / "run", small(tensorboard=True, log_every=2))
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    for name in ("loss", "learning_rate", "gradient_norm", "pictures_per_second"):
        assert (
            [one.step for one in events.Scalars(name)] == [line["step"] for line in run.lines("log.jsonl")] == [2, 4, 6]
        )
    assert [one.value for one in events.Scalars("loss")] == pytest.approx(
        [one["loss"] for one in run.lines("log.jsonl")]
    )
