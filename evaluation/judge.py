"""python -m evaluation judge RUN --judge NAME --model DIR"""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from .errors import EvaluationError
from .judges import JUDGES


@dataclass(frozen=True)
class Options:
    """Let a model answer the suite's questions on each picture of RUN.

    What is answered is kept: the same command goes on where it was stopped. On several GPUs or machines that share the
    folder: accelerate launch -m evaluation judge ... with the same arguments.
    """

    run: tyro.conf.Positional[Path]
    """the folder that generate made"""
    judge: Literal[tuple(JUDGES)]
    """which kind of judge"""
    model: Path | None = None
    """the folder of the judge's model, as downloaded from its page"""
    name: str | None = None
    """what the answers are called in RUN and in reports, such as qwen3-vl-8b; the judge's kind by default"""
    batch_size: int = 16
    """questions at a time; another size can change the last digits of a probability"""
    dtype: Literal["float32", "float16", "bfloat16"] | None = None
    """how the model computes; by default a vlm as its file says, all others in float32"""
    device: str | None = None
    """cpu, cuda, cuda:1, ...; the best one by default"""
    template: str | None = None
    """for vlm: what is asked, with {question} in it; another template is another judge"""
    color_model: Path | None = None
    """for detector: the folder of the CLIP that names colours"""


def run(options):
    """The command; see Options."""
    import torch
    from accelerate import PartialState

    from .answering import answer_all
    from .run_folder import RunFolder

    state = PartialState(cpu=options.device == "cpu")
    if state.num_processes > 1 and options.device not in (None, "cpu"):
        raise EvaluationError("each process has a device of its own here; leave --device out.")
    folder = RunFolder(options.run)
    judge = load_judge(options, torch.device(options.device) if options.device else state.device)
    name = options.name or options.judge
    remarks = answer_all(folder, judge, name, options.batch_size, state)
    if state.is_main_process:
        print("\n".join([*remarks, f"answers.{name}.jsonl of {folder.path} is complete."]), file=sys.stderr)


def load_judge(options, device):
    """The Judge that the options ask for, on `device`; EvaluationError where an option is for another judge."""
    from .judges import judge_class
    from .judges.model_folder import dtype_of

    chosen = judge_class(options.judge)
    settings = {"template": options.template, "color_folder": options.color_model}
    settings = {key: value for key, value in settings.items() if value is not None}
    for key in settings.keys() - inspect.signature(chosen).parameters.keys():
        option = {"template": "--template", "color_folder": "--color-model"}[key]
        raise EvaluationError(f"{option} has no meaning for {options.judge}; leave it out.")
    if options.model is None and options.judge != "mplug":
        raise EvaluationError(f"{options.judge} needs a model; give --model its folder.")
    return chosen(options.model, device=device, dtype=dtype_of(options.dtype), **settings)
