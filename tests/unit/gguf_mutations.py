"""Damaged GGUF files of T5 encoders and Llamas, drawn from a random.Random; about one in eight is sound."""

import functools
import os
import struct
import tempfile

import gguf
import torch
from file_mutations import NUMBERS as ODD
from file_mutations import TEXTS, damaged_bytes, put, renamed
from fuzz_cases import tokenizer_json
from gguf_bytes import ARRAY, BLOCKS, F32, NUMBERS, STRING, U32, join_gguf, split_gguf, text_bytes

ROWS, WIDTH, HIDDEN, HEADS, KEY_HEADS = 300, 32, 64, 4, 2
TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0")
COUNTS = (0, 1, 2, 3, 4, 5, 255, 2**16, 2**31, 2**32, 2**62, 2**63, 2**64 - 1)
ARCHITECTURES = ("t5", "t5encoder", "llama", "qwen2", "clip", "")
MARK = "\u2581"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def pieces():
    """A vocabulary of ROWS pieces as sentencepiece's BPE has it, two letters merged from one."""
    letters = [MARK, *LETTERS, *(MARK + letter for letter in LETTERS)]
    pairs = [a + b for a in LETTERS for b in "aeiou"]
    pieces = ["<unk>", "<s>", "</s>", *letters, *pairs, MARK + "re", MARK + "fo", MARK + "red", MARK + "fox"]
    return pieces + [f"[PAD{number}]" for number in range(len(pieces), ROWS)]


@functools.cache
def sound_gguf(architecture, stored, depth, gated, tokenizer):
    """The content of a GGUF file, written by the package gguf as llama.cpp's converter does."""
    generator = torch.Generator().manual_seed(3)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.gguf")
        writer = gguf.GGUFWriter(path, architecture)
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(HIDDEN)
        writer.add_block_count(depth)
        writer.add_head_count(HEADS)
        writer.add_layer_norm_rms_eps(1e-6)
        if architecture == "llama":
            writer.add_head_count_kv(KEY_HEADS)
            writer.add_context_length(512)
            writer.add_rope_dimension_count(WIDTH // HEADS)
            writer.add_rope_freq_base(10000.0)
            writer.add_vocab_size(ROWS)
        else:
            writer.add_key_length(WIDTH // HEADS)
            writer.add_relative_attn_buckets_count(8)
        if tokenizer:
            add_tokenizer(writer, architecture)
        for name, shape in shapes_of(architecture, depth, gated).items():
            weight = torch.randn(shape, generator=generator) * 0.3
            kind = gguf.GGMLQuantizationType[stored if len(shape) == 2 and shape[-1] % 32 == 0 else "F32"]
            writer.add_tensor(name, gguf.quantize(weight.numpy(), kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with open(path, "rb") as file:
            return file.read()


def add_tokenizer(writer, architecture):
    tokens = pieces()
    if architecture != "llama":
        tokens = ["<pad>", "</s>", "<unk>", *tokens[3:]]
    writer.add_tokenizer_model("llama" if architecture == "llama" else "t5")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(number) for number in range(ROWS)])
    writer.add_token_types([3 if token in ("<s>", "</s>", "<pad>") else 1 for token in tokens])
    writer.add_eos_token_id(tokens.index("</s>"))
    writer.add_unk_token_id(tokens.index("<unk>"))
    if architecture == "llama":
        writer.add_bos_token_id(1)
        writer.add_add_bos_token(True)
    else:
        writer.add_pad_token_id(0)


def shapes_of(architecture, depth, gated):
    """Shape by name of the model's tensors, in a state dict's order of dimensions."""
    before = "blk" if architecture == "llama" else "enc.blk"
    keys = WIDTH // HEADS * (KEY_HEADS if architecture == "llama" else HEADS)
    block = {"attn_norm": (WIDTH,), "attn_q": (WIDTH, WIDTH), "attn_k": (keys, WIDTH), "attn_v": (keys, WIDTH)}
    block |= {"attn_output" if architecture == "llama" else "attn_o": (WIDTH, WIDTH), "ffn_norm": (WIDTH,)}
    block |= {"ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN)}
    if gated or architecture == "llama":
        block["ffn_gate"] = (HIDDEN, WIDTH)
    shapes = {"token_embd.weight": (ROWS, WIDTH)}
    shapes |= {f"{before}.{n}.{part}.weight": shape for n in range(depth) for part, shape in block.items()}
    if architecture == "llama":
        return shapes | {"output_norm.weight": (WIDTH,), "output.weight": (ROWS, WIDTH)}
    return shapes | {"enc.blk.0.attn_rel_b.weight": (8, HEADS), "enc.output_norm.weight": (WIDTH,)}


def any_metadata(random, depth=2):
    """(type, bytes) of any value, rarely of one that the file can't hold."""
    kind = random.choice((*NUMBERS, STRING, STRING, ARRAY, ARRAY, random.choice(COUNTS) % 2**32))
    return kind, value_bytes(random, kind, depth)


def value_bytes(random, kind, depth):
    if kind in NUMBERS:
        size = struct.calcsize(NUMBERS[kind])
        if kind in (6, 12):
            number = random.choice((0.0, 1e-6, 0.5, -1.0, 1e30, float("nan"), float("inf")))
            return struct.pack("<" + NUMBERS[kind], number)
        return (int(random.choice(ODD)) % 256**size).to_bytes(size, "little")
    if kind == STRING:
        content = text_bytes(random.choice(TEXTS))
        return content if random.random() < 0.9 else struct.pack("<Q", random.choice(COUNTS)) + content[8:]
    if kind != ARRAY or depth == 0:
        return b""
    inner = random.choice((*NUMBERS, STRING, ARRAY))
    count = random.randrange(4)
    values = [value_bytes(random, inner, depth - 1) for _ in range(count)]
    return struct.pack("<IQ", inner, count if random.random() < 0.7 else random.choice(COUNTS)) + b"".join(values)


def damaged_structure(random, content):
    """The file with metadata and tensors lost, added, renamed or stated otherwise."""
    found = split_gguf(content)
    counts = None
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        kind = random.randrange(12)
        if kind < 4:
            damage_metadata(random, found.metadata)
        elif kind < 10:
            damage_tensors(random, found.tensors, len(found.data))
        elif kind == 10:
            found.alignment = random.choice((1, 8, 16, 64, 4096))
            stated = random.choice((found.alignment, found.alignment, 0, 3, 2**31, 2**32 - 1))
            found.metadata["general.alignment"] = U32, struct.pack("<I", stated)
        else:
            counts = [len(found.tensors), len(found.metadata)]
            counts[random.randrange(2)] = random.choice((*COUNTS, *(max(count - 1, 0) for count in counts)))
            found.version = random.choice((3, 3, 2, 1, 4, 2**24))
    found.data += bytes(random.choice((0, 4096, 2**20)))  # room for tensors that were added
    return join_gguf(found, counts)


def damage_metadata(random, metadata):
    if not metadata:
        return
    key = random.choice([key for key in metadata if not key.startswith("tokenizer.")] or list(metadata))
    if random.random() < 0.25:
        key = random.choice(list(metadata))
    kind = random.randrange(7)
    if kind == 0:
        del metadata[key]
    elif kind == 1:
        metadata[renamed(random, key).encode("utf-8", "replace").decode()] = metadata.pop(key)
    elif kind == 2:
        metadata[key] = any_metadata(random)
    elif kind == 3:
        metadata["general.architecture"] = STRING, text_bytes(random.choice(ARCHITECTURES))
    elif kind == 4:
        other = random.choice(list(metadata))
        metadata[key], metadata[other] = metadata[other], metadata[key]
    elif metadata[key][0] in (U32, F32):
        metadata[key] = metadata[key][0], value_bytes(random, metadata[key][0], 0)
    else:
        metadata[key] = any_metadata(random, 0)


def damage_tensors(random, tensors, length):
    if not tensors:
        return
    name = random.choice(list(tensors))
    dimensions, stored, offset = tensors[name]
    kind = random.randrange(9)
    if kind == 0:
        del tensors[name]
    elif kind == 1:
        tensors[renamed(random, name).encode("utf-8", "replace").decode()] = tensors.pop(name)
    elif kind == 2:
        other = random.choice(list(tensors))
        tensors[name], tensors[other] = tensors[other], tensors[name]
    elif kind == 3:
        tensors[name] = dimensions, random.choice((*BLOCKS, *range(42), 2**31)), offset
    elif kind == 4:
        tensors[name] = dimensions[::-1], stored, offset
    elif kind == 5:
        place = random.randrange(len(dimensions) + 1)
        odd = (random.choice(COUNTS),) * random.choice((1, 1, 2))
        tensors[name] = (*dimensions[:place], *odd, *dimensions[place + random.randrange(2) :]), stored, offset
    elif kind == 6:
        tensors[name] = dimensions, stored, random.choice((0, offset + 1, offset + 32, length, *COUNTS))
    elif kind == 7:
        number = random.choice(("1", "2", "3", "255", "10000000000"))
        extra = random.choice(("attn_q.bias", "attn_rel_b.weight", "attn_q.weight", "ffn_gate.weight", "other"))
        before = random.choice(("enc.blk", "blk", "dec.blk", "v.blk"))
        tensors[f"{before}.{number}.{extra}"] = tensors[name]
    else:
        for number in range(random.choice((10, 300, 3000))):
            tensors[f"blk.{number}.attn_q.weight"] = tensors[name]


def gguf_file(random, folder):
    """Writes a GGUF file, sound or not; its path."""
    architecture = random.choice(("llama", "llama", "t5encoder", "t5"))
    content = sound_gguf(
        architecture,
        random.choice(TYPES),
        depth=random.choice((1, 2)),
        gated=random.random() < 0.7,
        tokenizer=random.random() < 0.9,
    )
    damage = random.randrange(8)
    if damage in (1, 2, 3, 4, 5):
        content = damaged_structure(random, content)
    elif damage == 6:
        content = damaged_bytes(random, content)
    elif damage == 7:  # where it tells most
        place = random.randrange(24, 2000)
        content = damaged_bytes(random, content[:place]) + content[place:]
    path = os.path.join(folder, random.choice(("t5", "llama", "two words", "n" * 200)) + ".gguf")
    put(random, path, content)
    if architecture != "llama" and random.random() < 0.5:
        put(random, os.path.join(folder, "tokenizer.json"), tokenizer_json())
    return path
