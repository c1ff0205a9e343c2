"""What a person asks of a training: presets, models, data and options, read from the command line or from a run."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tyro

from .errors import TrainingError
from .options import PRESETS, Options
from .run_folder import RunFolder

DEFAULT_PRESET = "sd15-paper"


@dataclass(frozen=True)
class Command:
    """Train a connector. A run that was stopped goes on with the same command, or with --resume and its folder.

    On several GPUs or machines: accelerate launch -m training ... with the same arguments.
    """

    # The .safetensors checkpoint whose UNet is conditioned; it is never changed.
    checkpoint: Path
    # A cache of `python -m training cache`, a folder of pictures with .txt files, a .jsonl file, or WebDataset tars.
    data: str
    # The folder of the run; it is made if it is not there.
    out: Path
    # A folder or file of the language model; a cache needs none but for --prompts.
    text_encoder: Path | None = None
    # Where the tokenizer of a T5 lies that comes without one.
    tokenizer: Path | None = None
    # A kind (tsc, adaln-zero, resampler, mlp) to begin with new weights, or a connector file to go on from.
    connector: str = "tsc"
    # Data that is not trained on, as --data, for the validation.
    validation_data: str | None = None
    # Prompts of the grids that --sample-every asks for.
    prompts: tuple[str, ...] = ()
    # Processes that read data ahead, on each device.
    workers: int = 2
    # A row of the defaults: sd15-paper, sdxl-paper, finetune, smoke.
    preset: str = DEFAULT_PRESET
    # A run to go on with; all else is then what it was begun with, unless it is given anew.
    resume: Path | None = None
    # How it is trained.
    options: tyro.conf.OmitArgPrefixes[Options] = PRESETS[DEFAULT_PRESET]


def read_command(arguments):
    """The Command of a command line; TrainingError for a preset or a run that does not exist."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--resume", type=Path)
    known, _ = first.parse_known_args(arguments)
    if known.resume is not None:
        default = of_run(RunFolder(known.resume))
    else:
        name = known.preset or DEFAULT_PRESET
        if name not in PRESETS:
            raise TrainingError(f"{name} is no preset; choose one of {', '.join(PRESETS)}.")
        missing = dict.fromkeys(("checkpoint", "data", "out"), tyro.MISSING)
        default = Command(**missing, preset=name, options=PRESETS[name])
    command = tyro.cli(Command, args=arguments, default=default, prog="python -m training")
    if known.resume is not None and command.out != default.out:
        raise TrainingError(f"--resume goes on in {known.resume}; leave --out away.")
    return command


def of_run(run):
    """The Command that a run was begun with; of a run that no command began, what can be known of it."""
    kept = run.settings.get("command", {})
    paths = {"checkpoint", "text_encoder", "tokenizer"}
    values = {key: Path(value) if key in paths and value is not None else value for key, value in kept.items()}
    if not {"checkpoint", "data"} <= values.keys():
        raise TrainingError(f"{run.path} was not begun by this command, so it can't go on by it.")
    values["prompts"] = tuple(values.get("prompts", ()))
    return Command(**values, out=run.path, resume=run.path, options=run.options)


def to_keep(command):
    """Values of JSON from which `of_run` makes the command again, wherever it is then called."""
    values = asdict(replace(command, options=None))
    for name in ("options", "out", "resume"):
        del values[name]
    for name in ("checkpoint", "text_encoder", "tokenizer"):
        values[name] = None if values[name] is None else str(Path(values[name]).resolve())
    for name in ("data", "validation_data", "connector"):
        if values[name] is not None and Path(values[name]).exists():
            values[name] = str(Path(values[name]).resolve())
    return values
