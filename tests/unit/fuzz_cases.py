"""Damaged connectors and language models, drawn from a random.Random; about one in eight is sound."""

import functools
import json
import os
import tempfile

import sentencepiece
import torch
from file_mutations import (
    LOOKS,
    any_value,
    damaged_bytes,
    damaged_header,
    damaged_json,
    json_bytes,
    put,
    random_blocks,
    renamed,
    renamed_block,
    split_safetensors,
)
from safetensors.torch import load, save, save_file
from t5_tokenizer import MARK, write_tokenizer
from tiny_language_models import FAMILIES, make_language_model
from transformers import T5Config, T5EncoderModel

from ella_core import new_connector, save_connector
from ella_core.connectors.kinds import KINDS

ROWS = 300
DTYPES = (torch.float32,) * 3 + (torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.int8)
NAMES = ("ella", "ella", "n" * 200, "two words", "a`tick\nand a line", "\u202e\u6587", "'quotes\"")
PREFIXES = ("", "", "", "models--google--flan-t5-xl--text_encoder_", "a b_", "p" * 150 + "_")
REST = ("tokenizer_config.json", "generation_config.json", "pytorch_model.bin", "spiece.vocab", "other_config.json")


def bytes_of(path):
    with open(path, "rb") as file:
        return file.read()


def random_weights(state, random, dtype):
    generator = torch.Generator().manual_seed(random.randrange(2**31))
    return {key: (torch.randn(value.shape, generator=generator) * 0.3).to(dtype) for key, value in state.items()}


def damaged_tensors(random, state):
    """A copy of a state dict with tensors lost, added, renamed, reshaped, cast or not finite."""
    state = dict(state)
    for _ in range(random.choice((1, 1, 2, 3))):
        if not state:
            break
        name = random.choice(list(state))
        tensor = state[name]
        kind = random.randrange(9)
        if kind == 0:
            del state[name]
        elif kind == 1:
            state[renamed(random, name).encode("utf-8", "replace").decode()] = state.pop(name)
        elif kind == 2:
            state |= {renamed_block(name, number): torch.zeros(random.randrange(2)) for number in random_blocks(random)}
        elif kind == 3:
            other = random.choice(list(state))
            state[name], state[other] = state[other], tensor
        elif kind == 4:
            state[name] = tensor.to(random.choice(DTYPES))
        elif kind == 5 and tensor.numel():
            values = tensor.float().clone()
            values.view(-1)[random.randrange(values.numel())] = random.choice((float("nan"), float("inf"), -1e30, 7e4))
            state[name] = values.to(tensor.dtype)
        else:
            shapes = ([-1], [*tensor.shape, 1], [1] * random.randrange(99) + [*tensor.shape], list(tensor.shape)[::-1])
            reshaped = tensor.reshape(random.choice(shapes))
            cut = random.choice((slice(0), slice(1), slice(1, None), slice(None))) if reshaped.ndim else Ellipsis
            state[name] = reshaped[cut].clone()
    return state


def sound_connector(random, path):
    """Writes a connector of any kind; its metadata holds all that one can state, or the number of heads alone."""
    row = random.choice(KINDS)
    heads = random.choice((1, 2, 4, 8))
    pooled = random.random() < 0.1
    sizes = {
        "width": 64 if pooled else heads * random.choice((1, 2, 4)),
        "depth": random.choice((1, 2, 3, 11)),
        "num_heads": heads,
        "num_queries": random.choice((1, 3)),
        "text_dim": random.choice((1, 6)),
        "time_channels": random.choice((2, 8)),
        "time_dim": random.choice((1, 5)),
        "pooled_dim": 7 if pooled else 0,
    }
    connector = new_connector(row.name, **{name: size for name, size in sizes.items() if row.has(name)})
    state = random_weights(connector.state_dict(), random, random.choice(DTYPES[:-2]))
    if random.random() < 0.5:
        save_file(state, path, {random.choice(("num_heads", "heads")): str(heads)})
        return
    connector.load_state_dict(state, assign=True)
    encoder = {"architecture": "t5", "hidden_size": sizes["text_dim"], "max_length": 128, "name": "google/flan-t5-xl"}
    facts = {"text_encoder": encoder, "base": "sd15", "steps": 280000}
    save_connector(connector, path, **dict(random.sample(list(facts.items()), random.randrange(4))))


def connector_file(random, folder):
    """Writes a connector, sound or not; its path."""
    path = os.path.join(folder, random.choice(NAMES) + ".safetensors")
    sound_connector(random, path)
    content = bytes_of(path)
    damage = random.randrange(8)
    if damage in (1, 2):
        metadata = split_safetensors(content)[0]["__metadata__"]
        content = save(damaged_tensors(random, load(content)), metadata)
    elif damage in (3, 4, 5):
        content = damaged_header(random, content)
    elif damage in (6, 7):
        content = damaged_bytes(random, content)
    put(random, path, content)
    return path


@functools.cache
def tokenizer_json():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "tokenizer.json")
        write_tokenizer(path, size=ROWS)
        return bytes_of(path)


@functools.cache
def spiece_model():
    """A sentencepiece model of ROWS pieces, trained on words of a few letters."""
    words = (f"{a}{b}{c} " for a in "abcdef" for b in "aeiou" for c in "rstvwx")
    with tempfile.TemporaryDirectory() as folder:
        corpus = os.path.join(folder, "corpus.txt")
        with open(corpus, "w") as file:
            file.writelines(f"{word}a red fox{MARK}\n" for word in words)
        sentencepiece.SentencePieceTrainer.train(
            input=corpus,
            model_prefix=os.path.join(folder, "spiece"),
            vocab_size=ROWS,
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            hard_vocab_limit=False,
            minloglevel=2,
            user_defined_symbols=[f"<extra_id_{i}>" for i in range(100)],
        )
        return bytes_of(os.path.join(folder, "spiece.model"))


def t5_state(random, gated):
    config = T5Config(
        d_model=8,
        d_ff=12,
        d_kv=4,
        num_heads=2,
        num_layers=random.choice((1, 2, 3)),
        vocab_size=ROWS,
        relative_attention_num_buckets=random.choice((4, 8, 32)),
        relative_attention_max_distance=random.choice((16, 128)),
        layer_norm_epsilon=random.choice((1e-6, 1e-5)),
        feed_forward_proj="gated-gelu" if gated else "relu",
    )
    with torch.device("meta"):
        shapes = T5EncoderModel(config).state_dict()
    state = random_weights(shapes, random, random.choice(DTYPES[:5]))
    embeddings = ("shared.weight", "encoder.embed_tokens.weight")
    state[embeddings[1]] = state[embeddings[0]].clone()
    if random.random() < 0.8:
        state.pop(random.choice(embeddings))
    if random.random() < 0.3:
        state["decoder.block.0.layer.0.SelfAttention.q.weight"] = torch.zeros(2, 2)
    return config, state


def encoder_files(random):
    """{name: content} of a sound text encoder folder, or of one whose tensors are damaged; and the shards' names."""
    config, state = t5_state(random, gated=random.random() < 0.7)
    if random.random() < 0.25:
        state = damaged_tensors(random, state)
    names = list(state)
    random.shuffle(names)
    files = {"config.json": json_bytes(random, config.to_dict())}
    if random.random() < 0.5:
        files["tokenizer.json"] = tokenizer_json()
    else:
        files["spiece.model"] = spiece_model()
    if random.random() < 0.6:
        return files | {"model.safetensors": save(state)}
    count = random.choice((1, 2, 3))
    shards = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    weight_map = {}
    for i, shard in enumerate(shards):
        part = {name: state[name] for name in names[i::count]}
        files[shard] = save(part)
        weight_map |= dict.fromkeys(part, shard)
    index = {"metadata": {}, "weight_map": {key: name for key, name in weight_map.items() if "\ud800" not in key}}
    return files | {"model.safetensors.index.json": json_bytes(random, index)}


def damaged_file(random, name, content):
    """The content of one file of the folder, damaged as files of its kind are."""
    choice = random.random()
    try:
        if name.endswith(".json") and choice < 0.8:
            return json_bytes(random, damaged_json(random, json.loads(content)))
        if name.endswith(".safetensors") and choice < 0.7:
            return damaged_header(random, content)
    except (ValueError, RecursionError):  # it was damaged before
        return content
    return random.choice(LOOKS) if choice > 0.95 else damaged_bytes(random, content)


def encoder_folder(random, folder):
    """Writes a text encoder's files, sound or not; the path that a loader gets."""
    files = encoder_files(random)
    for _ in range(random.choice((0, 1, 1, 1, 1, 2))):
        name = random.choice(list(files))
        files[name] = damaged_file(random, name, files[name])
    if random.random() < 0.1:
        name = random.choice(list(files))
        content = files.pop(name)
        if random.random() < 0.5:
            files[random.choice((*files, *REST))] = content
    if random.random() < 0.2:
        files[random.choice(REST)] = json.dumps(any_value(random)).encode()
    prefix = random.choice(PREFIXES)
    folder = os.path.join(folder, random.choice(NAMES))
    os.mkdir(folder)
    for name, content in files.items():
        put(random, os.path.join(folder, prefix + name), content)
    paths = [folder, folder, folder, os.path.join(folder, prefix + "model.safetensors")]
    return random.choice([*paths, os.path.join(folder, prefix.rstrip("_"))] if prefix else paths)


@functools.cache
def language_model_files(family, shards):
    with tempfile.TemporaryDirectory() as folder:
        make_language_model(folder, family, shards=shards)
        return {entry.name: bytes_of(entry.path) for entry in os.scandir(folder)}


def language_model_folder(random, folder):
    """Writes a language model of any family, its files sound or not; the folder's path."""
    files = dict(language_model_files(random.choice(list(FAMILIES)), shards=random.random() < 0.3))
    for _ in range(random.choice((0, 1, 1, 1, 1, 2))):
        name = random.choice([*files, "config.json", "config.json"])
        files[name] = damaged_file(random, name, files[name])
    folder = os.path.join(folder, random.choice(NAMES))
    os.mkdir(folder)
    for name, content in files.items():
        put(random, os.path.join(folder, name), content)
    return folder
