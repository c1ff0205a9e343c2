"""A choice of blocks or heads as an artist writes it: "all", or numbers from 1 and ranges such as "1, 3-5"."""

import re

from ..errors import ELLAError

ITEM = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")
COMMA = re.compile("[,;\uff0c\u3001]")  # the last two are Chinese


def read_index_list(text, count, name):
    """A choice among `count` things -> their indices from 0, in order and each once.

    `name` is that of the input, for messages. Raises ELLAError for what is no such choice or out of range.
    """
    if text.strip().lower() == "all":
        return list(range(count))
    chosen = set()
    for item in COMMA.split(text):
        match = ITEM.fullmatch(item.strip())
        if match is None:
            raise ELLAError(
                f"{name} is {text!r}, where all or numbers such as 1, 3-5 are expected; this connector has {name} 1 to "
                f"{count}."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if not 1 <= first <= last <= count:
            raise ELLAError(
                f"{name} names {item.strip()}, and this connector has {name} 1 to {count}; write numbers in that "
                "range, the smaller first, or all."
            )
        chosen |= set(range(first - 1, last))
    return sorted(chosen)


def write_index_list(indices):
    """Indices from 0 -> the choice in the form that `read_index_list` reads, "1, 3-5"."""
    runs = []
    for number in (index + 1 for index in indices):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in runs)
