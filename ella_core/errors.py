"""Errors of the pack, and how what a file says is quoted in them."""

from __future__ import annotations

import ntpath
import os
import re

LONGEST_QUOTE = 64
PLAIN = re.compile(r"[\w.+-]+")
REPOSITORY = re.compile(r"\w[\w.-]*/[\w.-]+")  # a name on Hugging Face, "google/flan-t5-xl", which is no path


class ELLAError(ValueError):
    """An error whose message is one sentence for an artist: what was found, what was expected, what to do."""


class OtherModelError(ELLAError):
    """The error of a sound file that holds another model; `kind` says which one, as "a CLIP text encoder"."""

    def __init__(self, message, kind):
        super().__init__(message)
        self.kind = kind


def quoted(found, longest=LONGEST_QUOTE):
    """What a file says, fit for a sentence: one line of printable text, at most `longest` characters and two marks.

    Words and numbers stand as they are, other text in quotation marks, a list or an object of JSON as what it is. Of
    a path the last part is left, since folders hold people's names.
    """
    if isinstance(found, (list, dict)):
        return "a list" if isinstance(found, list) else "an object"
    text = str(found)
    if isinstance(found, str):
        text = without_folders(text)
    if len(text) > longest:
        end = longest // 3
        text = text[: longest - 3 - end] + "..." + text[-end:]
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    if not isinstance(found, str) or PLAIN.fullmatch(text) or REPOSITORY.fullmatch(text):
        return text
    return '"' + text.replace('"', "'").replace("`", "'") + '"'


def without_folders(text):
    last = max(text.rfind("/"), text.rfind("\\"))
    return text if last < 0 or REPOSITORY.fullmatch(text) else ".../" + text[last + 1 :]


def file_name(path):
    """The name of a file or folder, quoted."""
    return quoted(ntpath.basename(os.fspath(path).rstrip("/\\")))


def of_error(error):
    """What a library says of a file that it can't read, quoted; of the system's errors only their kind."""
    return quoted(getattr(error, "strerror", None) or str(error) or type(error).__name__, 100)
