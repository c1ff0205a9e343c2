"""GGUF files taken apart and put together by the format's own definition, without the package gguf."""

import struct
from dataclasses import dataclass

import numpy as np

STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
U32, F32 = 4, 6
# Bytes and values of a block of each type of tensor that is read here.
BLOCKS = {0: (4, 1), 1: (2, 1), 30: (2, 1), 8: (34, 32), 2: (18, 32)}
FLOAT32, FLOAT16, Q4_0, Q8_0, BFLOAT16 = 0, 1, 2, 8, 30


@dataclass
class GGUFBytes:
    """Metadata as {key: (type, its bytes)}, tensors as {name: (dimensions, type, offset)}, and their data."""

    metadata: dict
    tensors: dict
    data: bytes
    version: int = 3
    alignment: int = 32

    def value(self, key, default=None):
        """A number or a text of the metadata."""
        kind, content = self.metadata.get(key, (None, b""))
        if kind in NUMBERS:
            return struct.unpack("<" + NUMBERS[kind], content)[0]
        return content[8:].decode() if kind == STRING else default

    def tensor(self, name):
        """The values of a tensor in float32, the last dimension first as in a state dict; None for other types."""
        dimensions, kind, offset = self.tensors[name]
        if kind not in BLOCKS:
            return None
        size, values = BLOCKS[kind]
        length = int(np.prod(dimensions, dtype=object)) // values * size
        content = np.frombuffer(self.data[offset : offset + length], np.uint8)
        return dequantised(content, kind).reshape(dimensions[::-1])


def dequantised(content, kind):
    if kind == FLOAT32:
        return content.view("<f4")
    if kind == FLOAT16:
        return content.view("<f2").astype(np.float32)
    if kind == BFLOAT16:
        return (content.view("<u2").astype(np.uint32) << 16).view(np.float32)
    blocks = content.reshape(-1, BLOCKS[kind][0])
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)
    if kind == Q8_0:
        return scales * np.ascontiguousarray(blocks[:, 2:]).view(np.int8)
    halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1)
    return scales * (halves.astype(np.float32) - 8)


def split_gguf(content):
    """GGUFBytes of a sound file."""
    version, tensors, entries = struct.unpack_from("<IQQ", content, 4)
    place = 24
    found = GGUFBytes({}, {}, b"", version)
    for _ in range(entries):
        key, place = text_at(content, place)
        kind = struct.unpack_from("<I", content, place)[0]
        end = end_of_value(content, place + 4, kind)
        found.metadata[key] = (kind, content[place + 4 : end])
        place = end
    for _ in range(tensors):
        name, place = text_at(content, place)
        count = struct.unpack_from("<I", content, place)[0]
        dimensions = struct.unpack_from(f"<{count}Q", content, place + 4)
        kind, offset = struct.unpack_from("<IQ", content, place + 4 + 8 * count)
        found.tensors[name] = (dimensions, kind, offset)
        place += 16 + 8 * count
    found.alignment = found.value("general.alignment", 32)
    found.data = content[place + -place % found.alignment :]
    return found


def text_at(content, place):
    end = place + 8 + struct.unpack_from("<Q", content, place)[0]
    return content[place + 8 : end].decode(), end


def end_of_value(content, place, kind):
    if kind in NUMBERS:
        return place + struct.calcsize(NUMBERS[kind])
    if kind == STRING:
        return place + 8 + struct.unpack_from("<Q", content, place)[0]
    kind, count = struct.unpack_from("<IQ", content, place)
    place += 12
    if kind in NUMBERS:
        return place + count * struct.calcsize(NUMBERS[kind])
    for _ in range(count):
        place = end_of_value(content, place, kind)
    return place


def join_gguf(found, counts=None):
    """The file of GGUFBytes; `counts` of tensors and of metadata stand in it instead of the true ones."""
    counts = counts or (len(found.tensors), len(found.metadata))
    parts = [b"GGUF", struct.pack("<IQQ", found.version, *counts)]
    for key, (kind, content) in found.metadata.items():
        parts += [text_bytes(key), struct.pack("<I", kind), content]
    for name, (dimensions, kind, offset) in found.tensors.items():
        parts += [text_bytes(name), struct.pack("<I", len(dimensions))]
        parts += [struct.pack(f"<{len(dimensions)}Q", *dimensions), struct.pack("<IQ", kind, offset)]
    header = b"".join(parts)
    return header + bytes(-len(header) % found.alignment) + found.data


def text_bytes(text):
    content = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(content)) + content
