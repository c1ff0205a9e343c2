"""The folder of a judge's model, and the device that it is put on."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError

from ..errors import EvaluationError


def checked_folder(folder, expected, model_types=None):
    """(the folder as a Path, its model type); EvaluationError where it holds none, or none of `model_types`."""
    folder = Path(folder)
    try:
        found = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError):
        raise EvaluationError(
            f"{folder} holds no readable config.json; give --model the folder of {expected}, downloaded whole."
        ) from None
    if model_types and found not in model_types:
        raise EvaluationError(
            f"{folder} holds a model of type {found}, not {' or '.join(model_types)}; give --model the folder of "
            f"{expected}."
        )
    return folder, found


def loaded(model_class, folder, device=None, dtype=None):
    """The model of a folder for reading only, on `device` (this process's own by default) in `dtype` (the file's).

    EvaluationError where a weight lacks: a judge with random weights would answer all the same.
    """
    from accelerate import PartialState

    try:
        model, report = model_class.from_pretrained(
            folder, dtype=dtype or "auto", local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EvaluationError(f"the model in {folder} can't be loaded ({reason}); download it again.") from error
    if report["missing_keys"]:
        raise EvaluationError(
            f"{folder} lacks {len(report['missing_keys'])} weights of {model_class.__name__}, such as "
            f"{sorted(report['missing_keys'])[0]}; give the folder of a model of that kind."
        )
    return model.to(device or PartialState().device).eval()


def dtype_of(name):
    """torch's dtype of a name such as "bfloat16"; None of None."""
    return None if name is None else getattr(torch, name)
