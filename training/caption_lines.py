"""A JSONL file that names pictures: {"picture": "cats/1.jpg", "caption": "..."} or "captions": [...] in each line."""

import json

from ella_core.errors import file_name, of_error

from .errors import TrainingError
from .pictures import Picture, divided, with_captions


def read_caption_lines(path):
    """Pictures in the order of the lines, their paths relative to the file's folder: ([Picture], [Skipped]).

    Raises TrainingError, naming it, for a line that is no such object.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{file_name(path)} can't be read ({of_error(error)}); save it as UTF-8.") from error
    return divided([read_line(path, number, line) for number, line in enumerate(lines, 1) if line.strip()])


def read_line(path, number, line):
    """The Picture of one line, or Skipped."""
    try:
        record = json.loads(line)
        picture = Picture(record["picture"], (), path.parent / record["picture"])
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f'line {number} of {file_name(path)} is no object like {{"picture": "cat.jpg", "caption": "a cat"}}; '
            "correct or remove it."
        ) from error
    return with_captions(picture, captions_of(record))


def captions_of(record):
    """What a JSON object says under "captions" or "caption", as a list."""
    captions = record.get("captions", record.get("caption", []))
    return captions if isinstance(captions, list) else [captions]
