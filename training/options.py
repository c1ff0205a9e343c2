"""The options of a training: one frozen dataclass, presets as rows of it, and the place where conflicts are found."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Literal

from .errors import TrainingError


@dataclass(frozen=True)
class Options:
    """How a connector is trained. docs/training.md says which values the paper has published."""

    # Steps of the optimizer until the end.
    steps: int = 280_000
    # Pictures in a step, over all processes and micro-batches together.
    batch_size: int = 256
    # Pictures at a time on a device, 0 for as many as a step needs; lower it where memory is short.
    micro_batch_size: int = 8
    # The rate after the warm-up.
    learning_rate: float = 1e-4
    # What follows the warm-up: the same rate to the end, or a cosine down to 0 at the last step.
    schedule: Literal["constant", "cosine"] = "constant"
    # Steps in which the rate rises from a tenth of itself.
    warmup_steps: int = 1000
    # AdamW's decay of the weights.
    weight_decay: float = 0.01
    # The gradient's norm is cut to this, 0 for no cut.
    clip: float = 1.0
    # "adamw8bit" keeps its state in 8 bits and needs bitsandbytes.
    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    # Decay of the moving average of the weights, 0 for none.
    ema_decay: float = 0.9999
    # Probability that a prompt is replaced by the empty one.
    drop_prompt: float = 0.1
    # Gamma of min-SNR weights (arXiv 2303.09556), 0 for the plain mean; 5 is its authors'.
    min_snr: float = 0.0
    # Deviation of a number added to the noise of each channel, 0 for none.
    noise_offset: float = 0.0
    # Token ids to which texts are padded and cut; 0 reads every text at its own length.
    max_length: int = 128
    # Pixels of the pictures' area, as the side of a square.
    resolution: int = 512
    # What the UNet and the connector's layers compute in; the connector's weights are float32 always.
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    # Computes the UNet's activations twice instead of keeping them.
    gradient_checkpointing: bool = False
    # Rank of a LoRA on the connector's linear layers, 0 to train all of its weights.
    lora_rank: int = 0
    # Of new weights, noise, timesteps, dropping and the order of the data.
    seed: int = 1001
    # Steps from one save to the next; the last step and an interrupt save as well.
    save_every: int = 1000
    # Saves that are kept, the newest ones.
    keep: int = 2
    # Steps from one line of the log to the next.
    log_every: int = 50
    # Steps from one validation to the next, 0 for none.
    validate_every: int = 1000
    # Pictures in a validation.
    validation_size: int = 256
    # Steps from one grid of pictures to the next, 0 for none.
    sample_every: int = 0
    # Writes the log for TensorBoard as well.
    tensorboard: bool = True

    def asdict(self):
        return asdict(self)


# What may change when a run goes on: how it is computed and what is seen of it, never the recipe.
FREE_TO_CHANGE = {
    "steps",
    "micro_batch_size",
    "gradient_checkpointing",
    "save_every",
    "keep",
    "log_every",
    "validate_every",
    "validation_size",
    "sample_every",
    "tensorboard",
}

PAPER = Options(mixed_precision="bf16", gradient_checkpointing=True)
PRESETS = {
    # arXiv 2403.05135, section 5.1; batch, warm-up, clip and dropping are inferred, see docs/training.md.
    "sd15-paper": PAPER,
    "sdxl-paper": replace(PAPER, learning_rate=1e-5, micro_batch_size=4),
    # A connector from a file, for one community checkpoint.
    "finetune": replace(PAPER, learning_rate=1e-5, steps=10_000, batch_size=32, warmup_steps=200, ema_decay=0.999),
    # Shows that all is in place.
    "smoke": Options(
        steps=200, batch_size=8, micro_batch_size=0, warmup_steps=20, ema_decay=0.99, save_every=100, validate_every=100
    ),
}

AT_LEAST = {
    "steps": 1,
    "batch_size": 1,
    "micro_batch_size": 0,
    "warmup_steps": 0,
    "weight_decay": 0,
    "clip": 0,
    "min_snr": 0,
    "noise_offset": 0,
    "max_length": 0,
    "resolution": 64,
    "lora_rank": 0,
    "save_every": 1,
    "keep": 1,
    "log_every": 1,
    "validate_every": 0,
    "validation_size": 10,
    "sample_every": 0,
}


def check_options(options, processes=1):
    """Raises TrainingError for options that can't be, alone or together, on that number of processes."""
    for name, least in AT_LEAST.items():
        value = getattr(options, name)
        if not value >= least:
            raise TrainingError(f"{option(name)} is {value}; give a number of at least {least}.")
    if not options.learning_rate > 0:
        raise TrainingError(f"--learning-rate is {options.learning_rate}; give a number above 0, such as 1e-4.")
    for name, end in (("drop_prompt", 1), ("ema_decay", 1)):
        value = getattr(options, name)
        if not 0 <= value < end:
            raise TrainingError(f"{option(name)} is {value}; give a number from 0 to below {end}.")
    if options.schedule == "cosine" and options.warmup_steps >= options.steps:
        raise TrainingError(
            f"--warmup-steps is {options.warmup_steps} and --steps {options.steps}, which leaves the cosine no step; "
            "give fewer steps to the warm-up."
        )
    micro_batches(options, processes)


def micro_batches(options, processes):
    """(pictures in a micro-batch, micro-batches of a step on each process); TrainingError where a step can't be cut."""
    share, rest = divmod(options.batch_size, processes)
    micro = options.micro_batch_size or share
    if rest or micro == 0 or share % micro:
        raise TrainingError(
            f"--batch-size is {options.batch_size}, which {processes} process{'es' * (processes > 1)} can't cut into "
            f"micro-batches of {micro or 1}; give a multiple of {processes * max(micro, 1)} as --batch-size or another "
            "--micro-batch-size."
        )
    return micro, share // micro


def check_resumed(kept, asked, run):
    """Raises TrainingError, with the difference, where a run at path `run` was begun with other options."""
    differing = [
        (option(field.name), getattr(kept, field.name), getattr(asked, field.name))
        for field in fields(Options)
        if field.name not in FREE_TO_CHANGE and getattr(kept, field.name) != getattr(asked, field.name)
    ]
    if kept.schedule == "cosine" and kept.steps != asked.steps:
        differing.append(("--steps (where its cosine ends)", kept.steps, asked.steps))
    refuse_differences(run, differing)


def refuse_differences(run, differing):
    """Raises TrainingError for (name, value at the start, value now) of what has changed since a run began."""
    if differing:
        text = ", ".join(f"{name} {before} (now {now})" for name, before, now in differing)
        raise TrainingError(
            f"{run} was begun with {text}; ask for the same to go on, or begin a new run from its connector file with "
            "--connector."
        )


def option(name):
    """The name of a field as it is given on the command line."""
    return "--" + name.replace("_", "-")
