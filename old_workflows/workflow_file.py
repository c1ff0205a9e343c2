"""Workflow files, read and written: JSON, and the PNG pictures that ComfyUI saves."""

import errno
import json
import math
import os
import secrets
from pathlib import Path

from .api_graph import APIGraph, is_api
from .convert import convert
from .errors import WorkflowError
from .png_text import PNG, png_texts
from .quote import quote
from .ui_form import is_ui
from .ui_graph import UIGraph

DEEPEST = 200


def convert_file(source, target, overwrite=False):
    """Converts the workflow in `source` (.json or .png) and writes `target` (.json); returns a line for each change.

    Raises WorkflowError for what it doesn't understand and where `target` exists and `overwrite` is not set. Nothing is
    written then.
    """
    source, target = Path(source), Path(target)
    if target.suffix.lower() != ".json":
        raise WorkflowError(
            f"{target.name} was given for the new workflow, which is a JSON file; give a name that ends in .json."
        )
    if os.path.lexists(target) and not overwrite:
        raise WorkflowError(f"{target.name} is there already; give another name, or --overwrite to write over it.")
    workflow, lines = read_workflow(source)
    lines += convert(graph_of(workflow, source.name))
    write(json.dumps(workflow, indent=2, allow_nan=False), target)
    return lines


def write(text, target):
    """Writes a file whole or not at all, beside it first under a name that nobody has; a link stays one."""
    place, aside = Path(os.path.realpath(target)), None
    try:
        if place.is_symlink():
            raise OSError(errno.ELOOP, "its links lead in a circle")
        name = place.with_name(f".{secrets.token_hex(8)}.part")
        with open(name, "x", encoding="utf-8") as file:
            aside = name
            file.write(text)
        aside.replace(place)
        aside = None
    except OSError as error:
        raise WorkflowError(
            f"{target} can't be written ({error.strerror}); give a place where you may write."
        ) from None
    finally:
        if aside is not None:
            aside.unlink(missing_ok=True)


def graph_of(workflow, name):
    """The Graph of a workflow in either format; raises WorkflowError for anything else."""
    if isinstance(workflow, dict) and is_ui(workflow):
        return UIGraph(workflow)
    if isinstance(workflow, dict) and is_api(workflow):
        return APIGraph(workflow)
    raise WorkflowError(
        f"{quote(name)} is JSON but no ComfyUI workflow; export one with Workflow > Export or Export (API) in ComfyUI."
    )


def read_workflow(path):
    """(workflow as it was parsed, lines on how it was found) of a file; raises WorkflowError where there is none."""
    try:
        if path.exists() and not path.is_file():
            raise WorkflowError(f"{path} is no file; give a workflow's .json file or a picture's .png file.")
        data = path.read_bytes()
    except OSError as error:
        raise WorkflowError(
            f"{path} can't be read ({error.strerror}); give a workflow's .json file or a picture's .png file."
        ) from None
    if data.startswith(PNG):
        return read_picture(data, path.name)
    return unwrapped(parse(data, path.name))


def read_picture(data, name):
    """As `read_workflow`: the editor's workflow in a picture, or where that is broken the prompt that made it."""
    texts = png_texts(data)
    found = [key for key in ("workflow", "prompt") if texts.get(key)]
    if not found and None in (texts.get("workflow", ""), texts.get("prompt", "")):
        raise WorkflowError(f"{name} is a damaged picture; give it as ComfyUI saved it.")
    if not found:
        raise WorkflowError(
            f"{name} carries no workflow; give the picture as ComfyUI saved it, since other programs drop what it "
            "writes there."
        )
    refusal = None
    for key in found:
        try:
            workflow = parse(texts[key], name)
            graph_of(workflow, name)
        except WorkflowError as error:
            refusal = refusal or error
            continue
        broken = key == "prompt" and "workflow" in texts
        line = "The picture's workflow is broken, so the prompt beside it was converted, which is in API format"
        return workflow, [line] if broken else []
    raise refusal


def unwrapped(workflow):
    """(workflow, lines): a workflow without what a request to ComfyUI's API puts around it."""
    if isinstance(workflow, dict) and not is_ui(workflow) and not is_api(workflow):
        for key in ("workflow", "prompt"):
            inner = workflow.get(key)
            if isinstance(inner, dict) and (is_ui(inner) or is_api(inner)):
                return inner, [f'The workflow was taken out of the "{key}" that was around it']
    return workflow, []


def parse(text, name):
    """JSON as a browser reads it: NaN and infinite numbers, which Python writes and nothing else reads, become null."""
    try:
        workflow = json.loads(text, parse_constant=lambda _: None, parse_float=finite)
        check_depth(workflow)
        return workflow
    except RecursionError:
        raise WorkflowError(
            f"{quote(name)} is nested deeper than {DEEPEST} levels, as no workflow is; give one that ComfyUI saved."
        ) from None
    except ValueError:  # also bytes that are no UTF-8
        raise WorkflowError(
            f"{quote(name)} is neither a JSON file nor a PNG picture with a workflow; give one that ComfyUI saved."
        ) from None


def finite(text):
    number = float(text)
    return number if math.isfinite(number) else None


def check_depth(workflow):
    """Raises RecursionError for JSON that some versions of Python can read and not write."""
    level, depth = [[workflow]], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise RecursionError
        inner = [entry.values() if isinstance(entry, dict) else entry for entry in level]
        level = [value for values in inner for value in values if isinstance(value, (dict, list))]
