"""Workflow files: JSON, and the PNG pictures into which ComfyUI writes the workflow that made them."""

import json
import struct
import zlib
from pathlib import Path

from .api_graph import APIGraph, is_api
from .convert import convert
from .errors import WorkflowError
from .ui_graph import UIGraph, is_ui

PNG = b"\x89PNG\r\n\x1a\n"


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
    if target.exists() and not overwrite:
        raise WorkflowError(f"{target.name} is there already; give another name, or --overwrite to write over it.")
    workflow = read_workflow(source)
    try:
        changes = convert(graph_of(workflow, source.name))
    except (LookupError, TypeError, AttributeError) as error:  # files of strangers, edited by hand or by other programs
        raise WorkflowError(
            f"{source.name} is not built as ComfyUI saves workflows ({error!r}); open it in ComfyUI and save it again."
        ) from error
    aside = target.with_name(target.name + ".part")
    try:
        aside.write_text(json.dumps(workflow, indent=2), encoding="utf-8")
        aside.replace(target)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise WorkflowError(
            f"{target} can't be written ({error.strerror}); give a place where you may write."
        ) from None
    return changes


def graph_of(workflow, name):
    """The Graph of a workflow in either format; raises WorkflowError for anything else."""
    if isinstance(workflow, dict) and is_ui(workflow):
        return UIGraph(workflow)
    if isinstance(workflow, dict) and is_api(workflow):
        return APIGraph(workflow)
    raise WorkflowError(
        f"{name} is JSON but no ComfyUI workflow; export one with Workflow > Export or Export (API) in ComfyUI."
    )


def read_workflow(path):
    """The workflow in a file as it was parsed; raises WorkflowError where there is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WorkflowError(
            f"{path} can't be read ({error.strerror}); give a workflow's .json file or a picture's .png file."
        ) from None
    if not data.startswith(PNG):
        return parse(data, path.name)
    try:
        texts = dict(png_texts(data))
    except (ValueError, zlib.error):
        raise WorkflowError(f"{path.name} is a damaged picture; give it as ComfyUI saved it.") from None
    text = texts.get("workflow") or texts.get("prompt")
    if text is None:
        raise WorkflowError(
            f"{path.name} carries no workflow; give the picture as ComfyUI saved it, since other programs drop what it "
            "writes there."
        )
    return parse(text, path.name)


def parse(text, name):
    try:
        return json.loads(text)
    except ValueError:  # also bytes that are no UTF-8
        raise WorkflowError(
            f"{name} is neither a JSON file nor a PNG picture with a workflow; give one that ComfyUI saved."
        ) from None


def png_texts(data):
    """(keyword, text) of the text chunks of a PNG; what is cut off at the end is left out."""
    position = len(PNG)
    while position + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        keyword, _, rest = body.partition(b"\0")
        if kind == b"tEXt":
            yield keyword.decode("latin-1"), rest.decode("latin-1")
        elif kind == b"zTXt":
            yield keyword.decode("latin-1"), zlib.decompress(rest[1:]).decode("latin-1")
        elif kind == b"iTXt":
            compressed, (_, _, text) = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
            yield keyword.decode("latin-1"), (zlib.decompress(text) if compressed else text).decode("utf-8")
        position += length + 12
