"""The texts inside a PNG picture, into which ComfyUI writes the workflow that made it."""

import struct
import zlib

PNG = b"\x89PNG\r\n\x1a\n"
LONGEST = 1 << 27  # bytes of a text; a chunk that unpacks to more is no workflow


def png_texts(data):
    """{keyword: text} of a PNG's text chunks, None for a damaged text; what is cut off at the end is left out."""
    texts, position = {}, len(PNG)
    while position + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        position += length + 12
        if kind in READERS:
            keyword, _, rest = body.partition(b"\0")
            try:
                texts[keyword.decode("latin-1")] = READERS[kind](rest)
            except (ValueError, zlib.error):
                texts.setdefault(keyword.decode("latin-1"), None)
    return texts


def international(rest):
    compressed, (_, _, text) = rest[:1] == b"\1", rest[2:].split(b"\0", 2)
    return (unpacked(text) if compressed else text).decode("utf-8")


def unpacked(data):
    stream = zlib.decompressobj()
    text = stream.decompress(data, LONGEST)
    if not stream.eof:
        raise ValueError("the text is cut off or too long")
    return text


# Chunk type -> what reads the text behind the keyword; each raises ValueError or zlib.error for a damaged one.
READERS = {
    b"tEXt": lambda rest: rest.decode("latin-1"),
    b"zTXt": lambda rest: unpacked(rest[1:]).decode("latin-1"),
    b"iTXt": international,
}
