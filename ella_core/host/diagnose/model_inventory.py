"""What ELLA's model folders hold, told by the files' headers alone."""

from __future__ import annotations

import os
from dataclasses import dataclass

import folder_paths

from ...connectors.connector_file import check_connector
from ...connectors.kinds import describe
from ...errors import ELLAError, OtherModelError, quoted
from ...language_models.encoder_files import EXTENSIONS, find_encoder_files
from ...language_models.kinds import inspect_text_encoder
from ...safetensors_file import read_header
from ..model_folders import CONNECTORS, ENCODERS, connector_names, encoder_paths


@dataclass(frozen=True)
class Entry:
    """A file or folder under the name that the loader's list shows.

    `text` says what it is, or in a sentence what is wrong. `text_dim` is the width of the text states that it reads or
    makes, None for one that is of no use. `foreign` marks a sound model that is there for something else than ELLA.
    """

    name: str
    text: str
    text_dim: int | None = None
    foreign: bool = False


def connectors():
    """An Entry for each name in the list of Load ELLA; reads headers only and raises nothing for a bad file."""
    return [entry_of(name, folder_paths.get_full_path(CONNECTORS, name), connector_text) for name in connector_names()]


def text_encoders():
    """An Entry for each name in the list of Load ELLA Text Encoder, but for the weights inside a listed folder."""
    own = tuple(os.path.join(path, "") for path in folder_paths.get_folder_paths(ENCODERS[0]))
    paths = encoder_paths()
    folders = [path for path in paths.values() if path is not None and not os.path.isfile(path)]
    inside = {weights for folder in folders for weights in weights_of(folder)}
    return [
        entry_of(name, path, encoder_text, others_are_errors=path is None or path.startswith(own))
        for name, path in sorted(paths.items())
        if path not in inside
    ]


def files_not_listed():
    """Names of files beside the connectors that Load ELLA does not list, for they are no .safetensors."""
    names = (
        name
        for folder in folder_paths.get_folder_paths(CONNECTORS)
        if os.path.isdir(folder)
        for name in sorted(os.listdir(folder))
        if os.path.isfile(os.path.join(folder, name))
    )
    return [name for name in names if os.path.splitext(name)[1].lower() not in EXTENSIONS and name[0] != "."]


def entry_of(name, path, describe, others_are_errors=True):
    """Entry of what lies at `path`; `describe(path)` gives its text and its text_dim."""
    if path is None:
        return Entry(name, "a link to a file that is not there")
    text_dim, foreign = None, False
    try:
        text, text_dim = describe(path)
    except OtherModelError as error:
        foreign = not others_are_errors
        text = error.kind if foreign else str(error)
    except Exception as error:  # a file may hold anything, and the page is wanted most when something is wrong
        text = reason(error)
    return Entry(name, f"{size_on_disk(path)}, {text}", text_dim, foreign)


def connector_text(path):
    header = read_header(path)
    found = check_connector(header)
    parts = [precision([header]), describe(found.kind, found.config), *found.facts.described()]
    return ", ".join(parts), found.config.text_dim


def encoder_text(path):
    found = inspect_text_encoder(path)
    tokenizer = os.path.basename(found.files.tokenizer) if found.files.tokenizer else "ComfyUI's"
    stored = " and ".join(found.formats)
    kind = "T5 encoder" if found.architecture == "t5" else f"{quoted(found.architecture)} model"
    return (
        f"{stored}, a {kind} with text states of width {found.text_dim}; {found.depth} blocks, tokenizer: {tokenizer}"
    ), found.text_dim


def precision(headers):
    """ "F16", or the words of all dtypes in these headers."""
    return " and ".join(sorted({dtype for header in headers for dtype in header.dtypes.values()}))


def weights_of(path):
    try:
        return find_encoder_files(path).weights
    except (ELLAError, OSError, ValueError, KeyError):
        return ()


def size_on_disk(path):
    try:
        size = sum(os.path.getsize(file) for file in ([path] if os.path.isfile(path) else weights_of(path)))
    except OSError:
        return "of unknown size"
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:,} bytes"


def reason(error):
    """What may be shown of an error: an ELLAError's sentence, of others their kind, for their text may hold paths."""
    if isinstance(error, ELLAError):
        return str(error)
    detail = getattr(error, "strerror", None)
    return f"can't be read: {type(error).__name__}" + (f", {detail}" if detail else "")
