"""The header of a GGUF file, walked before the package gguf reads it, which believes every count and length."""

from __future__ import annotations

import math
import mmap
import os
import struct

from ..errors import of_error, quoted
from ..file_kind import unreadable
from .quantised_file import import_gguf

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # bytes by GGUF's types of values
STRING, ARRAY = 8, 9
# Read by the package gguf, as many take 0.8 GB of memory; the largest tokenizers have 900,000.
MOST_VALUES = 2**20
LONGEST_TEXT = 2**12  # bytes of a text in a list: a token, which tokenizers divide at each letter
MOST_TENSORS = 2**14
MOST_DIMENSIONS = 4


class DamagedError(ValueError):
    """What is wrong in a GGUF file's header, in a few words."""


def check_gguf(path):
    """Raises ELLAError for a GGUF file that is cut off, or whose counts, lengths or tensors don't fit into it."""
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise DamagedError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                Walk(data).header()
    except (DamagedError, OSError, struct.error) as error:
        wrong = "it is cut off" if isinstance(error, struct.error) else of_error(error)
        denied = "allow ComfyUI to read it or choose another one"
        raise unreadable(path, "GGUF", wrong, "download it again", denied) from error


class Walk:
    """Goes through a GGUF file's bytes in their order."""

    def __init__(self, data):
        self.data = data
        self.place = 0
        self.values = 0
        # Values of a block, and its bytes, by the number of the tensor's type.
        self.blocks = {kind.value: block for kind, block in import_gguf().GGML_QUANT_SIZES.items()}

    def header(self):
        if self.data[:4] != MAGIC:
            raise DamagedError("it doesn't begin as such a file")
        self.place = 4
        version = self.number("I")
        if version not in VERSIONS:
            raise DamagedError(f"version {version}, where 2 or 3 is expected")
        tensors, entries = self.number("Q"), self.number("Q")
        self.count(entries)
        if tensors > MOST_TENSORS:
            raise DamagedError(f"{tensors:,} tensors, where at most {MOST_TENSORS:,} are expected")
        for _ in range(entries):
            self.skip(self.number("Q"))
            self.value(self.number("I"))
        stored = sum(self.tensor() for _ in range(tensors))
        left = len(self.data) - self.place
        if stored > left:
            raise DamagedError(f"its tensors take {stored:,} bytes, and it has {left:,} after its header")

    def number(self, letter):
        found = struct.unpack_from("<" + letter, self.data, self.place)[0]
        self.place += struct.calcsize("<" + letter)
        return found

    def skip(self, length):
        if length > len(self.data) - self.place:
            raise DamagedError("it is cut off")
        self.place += length

    def count(self, values):
        self.values += values
        if self.values > MOST_VALUES:
            raise DamagedError(f"{self.values:,} values, where at most {MOST_VALUES:,} are expected")

    def value(self, kind):
        if kind == ARRAY:
            kind, values = self.number("I"), self.number("Q")
            self.count(values)
            if kind in SCALARS:
                self.skip(values * SCALARS[kind])
            elif kind == STRING:
                for _ in range(values):
                    self.text(LONGEST_TEXT)
            else:
                raise DamagedError(f"a list of type {kind}")
        elif kind == STRING:
            self.text()
        elif kind in SCALARS:
            self.skip(SCALARS[kind])
        else:
            raise DamagedError(f"a value of type {kind}")

    def text(self, longest=math.inf):
        length = self.number("Q")
        if length > longest:
            raise DamagedError(f"a token of {length:,} bytes")
        self.skip(length)

    def tensor(self):
        """The number of bytes that the next tensor takes."""
        start = self.place
        self.skip(self.number("Q"))
        name = quoted(self.data[start + 8 : self.place].decode("utf-8", "replace"))
        dimensions = self.number("I")
        if dimensions > MOST_DIMENSIONS:
            raise DamagedError(f"{name} of {dimensions} dimensions")
        size = math.prod(self.number("Q") for _ in range(dimensions))
        kind = self.number("I")
        self.number("Q")
        if kind not in self.blocks:
            raise DamagedError(f"{name} of type {kind}, which the package gguf does not know")
        values, length = self.blocks[kind]
        return size // values * length
