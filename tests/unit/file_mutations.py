"""Damages files as chance, other programs and malice do; every damage is drawn from a given random.Random."""

import copy
import json
import os

OWNER = "anna"  # in every path that is written into a file: no sentence may hold it
TEXTS = (
    "",
    "t5",
    "relu",
    "gated-relu",
    "4",
    "-1",
    "1e999",
    "NaN",
    "9" * 5000,
    "x" * 100_000,
    "two\nlines\r\n\u2028three",
    f"/home/{OWNER}/models/x.safetensors",
    f"C:\\Users\\{OWNER}\\x.safetensors",
    f"../{OWNER}/model.safetensors",
    "\u202e\u200b\u0000\x1b[31m",
    "\u0664\u0665",
    "\ud800",
)
NUMBERS = (
    0,
    1,
    2,
    3,
    5,
    7,
    8,
    255,
    2**16,
    2**31,
    2**32,
    2**62,
    2**63,
    10**30,
    10**4000,
    -1,
    -(2**63),
    0.5,
    1.5,
    1e-320,
)
OTHERS = (None, True, False, float("nan"), float("inf"))
DTYPES = "BOOL U8 I8 F8_E4M3 F8_E5M2 I16 U16 F16 BF16 I32 F32 F64 I64 F4 F6_E2M3 C64 X".split()
LOOKS = (
    b"",
    b"{",
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 133651968\n",
    b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    b"PK\x03\x04" + bytes(100),
    b"\x80\x02}q\x00.",
    b"\x1f\x8b\x08" + bytes(50),
    b"GGUF\x03\x00\x00\x00" + bytes(64),
    b"\xff" * 64,
    bytes(range(256)) * 8,
    bytes(4096),
)


def any_value(random, depth=2):
    """Something that JSON can hold."""
    choice = random.random()
    if choice < 0.3:
        return random.choice(TEXTS)
    if choice < 0.7:
        return random.choice(NUMBERS)
    if choice < 0.8 or depth == 0:
        return random.choice(OTHERS)
    values = [any_value(random, depth - 1) for _ in range(random.randrange(4))]
    return values if random.random() < 0.5 else {random.choice(TEXTS): value for value in values}


def damaged_bytes(random, content):
    """The content with a few bytes changed, removed, added or repeated, or something else in its place."""
    content = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8, 64))):
        place, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
        if random.random() < 0.5:
            end = min(end, place + random.randrange(1, 9))
        kind = random.randrange(8)
        if kind < 3 and place < len(content):
            content[place] = random.choice((0, 1, 0x7F, 0xFF, content[place] ^ 1 << random.randrange(8)))
        elif kind == 3:
            del content[place:end]
        elif kind == 4:
            content[place:place] = random.randbytes(random.randrange(1, 64))
        elif kind == 5:
            content[place:end] = bytes(end - place)
        elif kind == 6:
            content[place:place] = content[place:end][:4096]
        elif random.random() < 0.2:
            del content[place:]
    return random.choice(LOOKS) if random.random() < 0.03 else bytes(content)


def damaged_json(random, tree):
    """A copy of what JSON holds with a few of its values, keys and entries changed."""
    tree = copy.deepcopy(tree)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        tree = changed_once(random, tree)
    return tree


def changed_once(random, tree):
    if not isinstance(tree, (dict, list)) or not tree or random.random() < 0.03:
        return any_value(random)
    key = random.choice(list(tree)) if isinstance(tree, dict) else random.randrange(len(tree))
    kind = random.randrange(6)
    if kind < 3:
        tree[key] = changed_once(random, tree[key])
    elif kind == 3:
        del tree[key]
    elif kind == 4:
        tree[key] = any_value(random)
    elif isinstance(tree, dict):
        tree[random.choice((*TEXTS, *map(str, tree)))] = tree[key]
    else:
        tree.insert(key, copy.deepcopy(tree[random.randrange(len(tree))]))
    return tree


def json_bytes(random, tree):
    """JSON in one of the encodings that editors save it in."""
    return json.dumps(tree).encode(random.choice(("utf-8",) * 6 + ("utf-8-sig", "utf-16", "utf-32", "utf-16-le")))


def split_safetensors(content):
    """The header, as a dict, and the data of a safetensors file's bytes."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def join_safetensors(header, data, padding=8):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % padding)
    return len(text).to_bytes(8, "little") + text + data


def damaged_header(random, content):
    """A safetensors file with entries of its header changed, the data left as it is."""
    header, data = split_safetensors(content)
    if not isinstance(header, dict) or not header:  # damaged before
        return damaged_bytes(random, content)
    for _ in range(random.choice((1, 1, 2, 4))):
        names = list(header)
        name = random.choice(names)
        entry = header[name]
        kind = random.randrange(10)
        if kind == 0:
            header = damaged_json(random, header)
            if not isinstance(header, dict) or not header:
                break
        elif kind == 1:
            header.pop(name)
        elif kind == 2:
            header[renamed(random, name)] = header.pop(name)
        elif kind == 3:
            header["__metadata__"] = damaged_metadata(random, header.get("__metadata__", {"num_heads": "4"}))
        elif kind == 4:
            for number in random_blocks(random):
                header[renamed_block(name, number)] = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        elif kind == 5:
            other = random.choice(names)
            header[name], header[other] = header[other], entry
        elif isinstance(entry, dict) and isinstance(entry.get("shape"), list):
            change_entry(random, entry, len(data))
        if not header:
            break
    return join_safetensors(header, data, random.choice((1, 8, 8, 640, 15392)))


def damaged_metadata(random, metadata):
    """A copy of a file's metadata, the texts in it changed for others, those that hold JSON inside of it."""
    if not isinstance(metadata, dict) or not metadata:  # damaged before
        return any_value(random)
    metadata = dict(metadata)
    key = random.choice(list(metadata))
    kind = random.randrange(4)
    if kind == 0:
        return damaged_json(random, metadata)
    try:
        if kind < 3:
            metadata[key] = json.dumps(damaged_json(random, json.loads(metadata[key])))
            return metadata
    except (TypeError, ValueError, RecursionError):  # no JSON, or damaged before
        pass
    return metadata | {key: random.choice((*TEXTS, *(look.decode("latin-1") for look in LOOKS)))}


def change_entry(random, entry, length):
    shape = entry["shape"]
    kind = random.randrange(6)
    if kind == 0:
        entry["dtype"] = random.choice(DTYPES)
    elif kind == 1:
        random.shuffle(shape)
    elif kind == 2:
        shape[:] = [1] * random.randrange(1000) + shape
    elif kind == 3:
        size = 1
        for number in shape:
            size *= number if isinstance(number, int) else 1
        shape[:] = [size]
    elif kind == 4:
        shape[random.randrange(len(shape)) if shape else 0 :] = [random.choice(NUMBERS)]
    else:
        entry["data_offsets"] = [random.choice((0, length, random.randrange(length + 1))) for _ in range(2)]


def renamed(random, name):
    place = random.randrange(len(name) + 1)
    return random.choice((name[:place], name[:place] + random.choice(TEXTS) + name[place:], random.choice(TEXTS)))


def renamed_block(name, number):
    parts = [number if part.isdecimal() else part for part in name.split(".")]
    return ".".join(parts) if parts != name.split(".") else f"{name}.{number}"


def random_blocks(random):
    """Numbers of blocks as text: one that is odd, or many."""
    odd = ("10000000000", "01", "-1", "1e3", "", "\u0661", "9" * 5000, "2", "3", "255", "256")
    return [random.choice(odd)] if random.random() < 0.8 else map(str, range(random.choice((10, 300, 3000))))


def put(random, path, content):
    """Writes content to a path, or rarely something that is no file there."""
    choice = random.random()
    if os.path.lexists(path):
        os.unlink(path)
    if choice < 0.97:
        with open(path, "wb") as file:
            file.write(content)
    elif choice < 0.98:
        os.mkdir(path)
    elif choice < 0.99:
        os.mkfifo(path)
    else:
        os.symlink(random.choice((path, "nowhere", "..", "/dev/zero", "/proc/self/mem")), path)
