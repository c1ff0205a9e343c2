"""Each wrong text encoder gets one sentence: what was found, what was expected, what to do."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from t5_tokenizer import ROWS, write_tokenizer
from wrong_files import LFS_POINTER, WEB_PAGE, assert_one_sentence, clip, lora, unknown

from ella_core import ELLAError, load_text_encoder

TSC = Path(__file__).parents[2] / "data/tsc_small.safetensors"


@pytest.fixture
def t5_folder(data, tmp_path):
    folder = tmp_path / "t5"
    shutil.copytree(data / "t5_overflow", folder)
    (folder / "expected.safetensors").unlink()
    write_tokenizer(folder / "tokenizer.json")
    return folder


def edit_tokenizer(**options):
    return lambda folder: write_tokenizer(folder / "tokenizer.json", **options)


def write(name, content):
    """Writes a file of the folder, or a pipe in its place where the content is None."""

    def edit(folder):
        (folder / name).unlink(missing_ok=True)
        if content is None:
            os.mkfifo(folder / name)
        else:
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return edit


def unreadable(name):
    """Puts a file in its place that the system doesn't let be read."""

    def edit(folder):
        (folder / name).unlink()
        (folder / name).symlink_to("/proc/self/mem")

    return edit


def index(content):
    """Replaces the weights by an index of this content, text or what JSON is made of."""

    def edit(folder):
        (folder / "model.safetensors").unlink()
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        write("model.safetensors.index.json", text)(folder)

    return edit


def spiece(content):
    def edit(folder):
        (folder / "tokenizer.json").unlink()
        write("spiece.model", content)(folder)

    return edit


def scaled(factor):
    def change(state):
        state[QUERY] = state[QUERY].float().clamp(0.5, 1) * factor

    return change


def shaped(key, *shape):
    return edit_weights(lambda state: state.update({key: torch.zeros(shape)}))


def many_blocks(state):
    state.update({f"encoder.block.{i}.x": torch.zeros(1) for i in range(20000)})


def edit_config(**changes):
    def edit(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return edit


def edit_weights(change):
    def edit(folder):
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return edit


def missing_shard(folder):
    (folder / "model.safetensors").unlink()
    names = {"shared.weight": "model-00001-of-00002.safetensors", "x": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def only_pickle(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def clip_folder(folder):
    edit_config(model_type="clip_text_model")(folder)
    clip(folder / "model.safetensors")


def umt5(state):
    bias = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
    state.update({bias.format(i): torch.zeros(32, 4) for i in (1, 2)})


FEED_FORWARD = "encoder.block.0.layer.1.DenseReluDense.wi_0.weight"
BIAS = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
QUERY = "encoder.block.1.layer.0.SelfAttention.q.weight"
ENCODERS = {
    "no config": (lambda f: (f / "config.json").unlink(), "has no config.json"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "is not valid JSON"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "neither tokenizer.json nor spiece.model"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no model.safetensors"),
    "only a pickle": (only_pickle, "only a pytorch_model.bin"),
    "missing shard": (missing_shard, "lacks 2 of its 2 weight files"),
    "CLIP-L": (clip_folder, "is a clip_text_model model"),
    "mT5": (edit_config(model_type="mt5"), "is a mt5 model"),
    "UMT5 or Pile-T5": (edit_weights(umt5), "is a UMT5 or Pile-T5 encoder"),
    "config of another size": (edit_config(num_layers=24), "config.json with num_layers 24 and weights with 3"),
    "missing tensor": (edit_weights(lambda s: s.pop(QUERY)), f"lacks 1 of the encoder's 30 tensors .*{QUERY}"),
    "misshapen tensor": (
        edit_weights(lambda s: s.update({QUERY: torch.zeros(2, 2)})),
        "where \\(32, 32\\) is expected",
    ),
    "quantised": (edit_weights(lambda s: s.update({QUERY + ".scale_weight": torch.zeros(1)})), "is quantised"),
    "int8": (edit_weights(lambda s: s.update({QUERY: s[QUERY].to(torch.int8)})), "is quantised .*I8"),
    "web page": (write("model.safetensors", WEB_PAGE), "model.safetensors is a web page"),
    "Git LFS pointer": (write("model.safetensors", LFS_POINTER), "model.safetensors is a Git LFS pointer"),
    "20,000 blocks": (edit_weights(many_blocks), "has 20000 blocks"),
    "extra tensor": (edit_weights(lambda s: s.update({"encoder.x": torch.zeros(1)})), "1 tensors more than such an en"),
    "flat embedding": (shaped("shared.weight", 7), r"shared.weight of shape \(7,\) where a matrix is expected"),
    "empty embedding": (shaped("shared.weight", 0, 32), r"\(0, 32\) where a matrix is expected"),
    "no heads": (shaped(BIAS, 32, 0), r"\(32, 0\) where a matrix is expected"),
    "one bucket": (shaped(BIAS, 1, 4), "1 buckets of positions, where .* at least 4 buckets"),
    "no bias": (edit_weights(lambda s: s.pop(BIAS)), f"has no tensor {BIAS}"),
    "no feed-forward": (edit_weights(lambda s: s.pop(FEED_FORWARD)), "has no tensor .*DenseReluDense.wi.weight"),
    "NaN": (edit_weights(scaled(float("nan"))), f"values in {QUERY} that are not finite in float16"),
    "beyond float16": (edit_weights(scaled(1e6)), f"values in {QUERY} that are not finite in float16"),
    "config a list": (write("config.json", "[]"), "config.json holds a list where an object of JSON is expected"),
    "config a number": (write("config.json", "1e999"), "config.json holds inf where"),
    "config nested": (write("config.json", "[" * 100000), "config.json is not valid JSON"),
    "config nested, an object": (write("config.json", '{"a":' * 100000), "config.json is not valid JSON"),
    "config of a long number": (write("config.json", '{"a":' + "9" * 5000 + "}"), "config.json is not valid JSON"),
    "config no text": (write("config.json", b"\xff\xfe\xfd"), "config.json is not valid JSON"),
    "config too long": (write("config.json", " " * 5 * 2**20), "config.json is 5,242,880 bytes long"),
    "config empty": (write("config.json", ""), "config.json is empty"),
    "config a web page": (write("config.json", WEB_PAGE), "config.json is a web page"),
    "config an LFS pointer": (write("config.json", LFS_POINTER), "config.json is a Git LFS pointer"),
    "config unreadable": (unreadable("config.json"), r"config.json can't be read \("),
    "tokenizer unreadable": (unreadable("tokenizer.json"), r"tokenizer.json can't be read \("),
    "weights unreadable": (unreadable("model.safetensors"), r"model.safetensors can't be read \("),
    "config a pipe": (write("config.json", None), "has no config.json"),
    "config a folder": (lambda f: (f / "config.json").unlink() or (f / "config.json").mkdir(), "has no config.json"),
    "config without a kind": (write("config.json", "{}"), "has model_type None"),
    "config of a nested kind": (edit_config(model_type=["t5"]), "has model_type a list"),
    "config that leads a path": (edit_config(model_type="/home/anna/t5\n\n"), 'is a ".../t5  " model'),
    "epsilon 1.5": (edit_config(layer_norm_epsilon=1.5), "layer_norm_epsilon 1.5, where a number above 0"),
    "epsilon NaN": (edit_config(layer_norm_epsilon=float("nan")), "layer_norm_epsilon nan, where"),
    "epsilon text": (edit_config(layer_norm_epsilon="1e-6"), "layer_norm_epsilon 1e-6, where"),
    "epsilon 0": (edit_config(layer_norm_epsilon=0), "layer_norm_epsilon 0, where"),
    "distance 1.5": (edit_config(relative_attention_max_distance=1.5), "max_distance 1.5, where a whole number from 9"),
    "distance NaN": (edit_config(relative_attention_max_distance=float("nan")), "max_distance nan, where"),
    "distance 8": (edit_config(relative_attention_max_distance=8), "max_distance 8, where a whole number from 9"),
    "distance true": (edit_config(relative_attention_max_distance=True), "max_distance True, where"),
    "gated-relu": (
        edit_config(feed_forward_proj="gated-relu"),
        "feed_forward_proj gated-relu and weights with gated-g",
    ),
    "gates a list": (edit_config(feed_forward_proj=["gated-gelu"]), "feed_forward_proj a list and weights"),
    "sizes null": (edit_config(d_ff=None), "d_ff None and weights with 64"),
    "index no JSON": (index("{"), "index.json is not valid JSON"),
    "index an LFS pointer": (index(LFS_POINTER), "index.json is a Git LFS pointer"),
    "index a list": (index([]), "index.json holds a list"),
    "index without a map": (index({"metadata": {}}), "names no weight files in its weight_map"),
    "index with a null": (index({"weight_map": None}), "names no weight files"),
    "index with a list": (index({"weight_map": ["a.safetensors"]}), "names no weight files"),
    "index of lists": (index({"weight_map": {"a": ["a.safetensors"]}}), "names a list among the weights"),
    "index of nulls": (index({"weight_map": {"a": None}}), "names None among the weights"),
    "index of a path": (index({"weight_map": {"a": "../../home/a.safetensors"}}), 'names ".../a.safetensors" among'),
    "index of a drive": (index({"weight_map": {"a": "C:a.safetensors"}}), 'names "C:a.safetensors" among'),
    "index of a folder": (index({"weight_map": {"a": ".."}}), "names .. among the weights"),
    "index of backslashes": (index({"weight_map": {"a": "..\\a.safetensors"}}), 'names ".../a.safetensors" among'),
    "index of a zero byte": (index({"weight_map": {"a": "a\0.safetensors"}}), "lacks 1 of its 1 weight files"),
    "tokenizer an object": (write("tokenizer.json", "{}"), "tokenizer.json can't be read as a tokenizer"),
    "tokenizer too long": (
        lambda f: os.truncate(f / "tokenizer.json", 2**27),
        "tokenizer.json is 134,217,728 bytes long, more than any tokenizer",
    ),
    "tokenizer empty": (write("tokenizer.json", ""), "tokenizer.json is empty"),
    "tokenizer an LFS pointer": (write("tokenizer.json", LFS_POINTER), "tokenizer.json is a Git LFS pointer"),
    "tokenizer nested": (write("tokenizer.json", "[" * 100000), "tokenizer.json can't be read as a tokenizer"),
    "tokenizer cut off": (
        lambda f: write("tokenizer.json", (f / "tokenizer.json").read_bytes()[:1000])(f),
        "tokenizer.json can't be read as a tokenizer",
    ),
    "tokenizer too large": (
        edit_tokenizer(size=ROWS + 1),
        "a vocabulary of 32129 token ids, and .* embedding has 32128",
    ),
    "tokenizer too small": (edit_tokenizer(size=30000), "a vocabulary of 30000 token ids, and .* embedding has 32128"),
    "tokenizer of another model": (edit_tokenizer(end="[SEP]"), "is no tokenizer of a T5: its </s> is missing"),
    "tokenizer without an end": (edit_tokenizer(closes=False), "which ends each prompt with token id 1"),
    "tokenizer without an unknown": (edit_tokenizer(unknown=False), "tokenizer.json can't be read as a tokenizer"),
    "spiece empty": (spiece(""), "spiece.model is empty"),
    "spiece an LFS pointer": (spiece(LFS_POINTER), "spiece.model is a Git LFS pointer"),
    "spiece noise": (spiece(bytes(range(256))), "spiece.model can't be read as a tokenizer"),
}


@pytest.mark.parametrize("case", ENCODERS)
def test_wrong_text_encoder_folder(case, t5_folder):
    edit, expected = ENCODERS[case]
    edit(t5_folder)
    with pytest.raises(ELLAError, match=expected) as error:
        load_text_encoder(t5_folder)
    assert_one_sentence(error.value)


def test_config_and_index_may_begin_with_a_byte_order_mark(t5_folder):
    for encoding in ("utf-8-sig", "utf-16"):
        text = json.dumps({"weight_map": {"shared.weight": "weights.safetensors"}})
        (t5_folder / "model.safetensors.index.json").write_text(text, encoding=encoding)
        config = json.loads((t5_folder / "config.json").read_bytes())
        (t5_folder / "config.json").write_text(json.dumps(config), encoding=encoding)
        if (t5_folder / "model.safetensors").exists():
            (t5_folder / "model.safetensors").rename(t5_folder / "weights.safetensors")
        assert load_text_encoder(t5_folder).text_dim == 32


FILES = {
    "LoRA": (lora, "is a LoRA, where FLAN-T5-XL's encoder is expected"),
    "CLIP-L": (clip, "is a CLIP text encoder"),
    "connector": (lambda path: shutil.copy(TSC, path), "is an ELLA connector"),
    "unknown": (unknown, "is not a T5 encoder"),
    "missing": (lambda path: None, "does not exist"),
}


@pytest.mark.parametrize("case", FILES)
def test_wrong_text_encoder_file(case, tmp_path):
    write, expected = FILES[case]
    path = tmp_path / "wrong.safetensors"
    write(path)
    with pytest.raises(ELLAError, match=expected) as error:
        load_text_encoder(path)
    assert_one_sentence(error.value, "wrong.safetensors")


def test_pickled_text_encoder_is_not_opened(tmp_path):
    (tmp_path / "t5.bin").write_bytes(b"\x80\x02")
    with pytest.raises(ELLAError, match="is not a .safetensors file"):
        load_text_encoder(tmp_path / "t5.bin")
