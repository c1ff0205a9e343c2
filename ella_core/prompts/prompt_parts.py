"""A prompt that BREAK, on a line of its own, parts into several that are read one by one."""

import re

from ..errors import ELLAError

BREAK = re.compile(r"^[ \t]*BREAK[ \t\r]*$", re.MULTILINE)
ESCAPED = re.compile(r"\\[\\()]")


def prompt_parts(text):
    """The texts between the lines BREAK of a prompt, without those that are empty; at least one.

    Raises ELLAError where BREAK stands inside brackets, since a weight ends with its part.
    """
    parts = BREAK.split(text)
    if len(parts) == 1:
        return parts
    for before in parts[:-1]:
        if open_brackets(before):
            raise ELLAError(
                "BREAK stands inside brackets, and the parts of a prompt are weighted each on their own; close the "
                r"brackets before BREAK, and write \( for a bracket that is no weight."
            )
    return [part.strip("\r\n") for part in parts if part.strip()] or [""]


def open_brackets(text):
    """How many brackets of the weight syntax a text leaves open."""
    depth = 0
    for character in ESCAPED.sub("", text):
        depth = max(0, depth + {"(": 1, ")": -1}.get(character, 0))
    return depth
