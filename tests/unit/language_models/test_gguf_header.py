"""GGUF files whose counts, sizes or tensors are not what the model has are refused, saying what is wrong."""

import struct

import pytest
from gguf_bytes import ARRAY, FLOAT16, STRING, U32, join_gguf, split_gguf, text_bytes
from gguf_mutations import WIDTH, sound_gguf

from ella_core import ELLAError, load_text_encoder
from ella_core.language_models.gguf_header import LONGEST_TEXT, MOST_VALUES

KEY = "blk.0.attn_q.weight"


def number(value):
    return U32, struct.pack("<I", value)


def list_of(kind, count, content):
    return ARRAY, struct.pack("<IQ", kind, count) + content


def refusal(found, tmp_path, counts=None):
    (tmp_path / "model.gguf").write_bytes(join_gguf(found, counts))
    with pytest.raises(ELLAError) as error:
        load_text_encoder(tmp_path / "model.gguf")
    return str(error.value)


@pytest.fixture
def found():
    return split_gguf(sound_gguf("llama", "F16", 2, True, True))


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("x", list_of(0, 2**62, b""), "values, where at most"),
        ("x", list_of(0, MOST_VALUES // 2, b""), "cut off"),
        ("x", list_of(ARRAY, 1, struct.pack("<IQ", 0, 0)), "a list of type 9"),
        ("x", list_of(STRING, 1, text_bytes("x" * (LONGEST_TEXT + 1))), "a token of 4,097 bytes"),
        ("x", (STRING, struct.pack("<Q", 2**63)), "cut off"),
        ("general.architecture", list_of(STRING, 2, text_bytes("llama") * 2), "a GGUF file of a a list model"),
        ("llama.block_count", number(2**31), "a whole number from 1 to 256"),
        ("llama.block_count", number(1), "9 tensors more than such a model"),
        ("llama.block_count", (STRING, text_bytes("2")), "a whole number"),
        ("llama.embedding_length", number(2 * WIDTH), "a word embedding of 32"),
        ("llama.feed_forward_length", number(2**30), "where (1073741824, 32) is expected"),
        ("llama.attention.layer_norm_rms_epsilon", (6, struct.pack("<f", float("nan"))), "a number above 0"),
    ],
)
def test_metadata_that_no_such_model_has(found, tmp_path, key, value, said):
    found.metadata[key] = value
    if key == "x" and said == "cut off":
        found.tensors, found.data = {}, b""
    assert said in refusal(found, tmp_path)


def test_a_size_that_is_missing_is_not_filled_in(found, tmp_path):
    del found.metadata["llama.attention.layer_norm_rms_epsilon"]
    assert "no value for attention.layer_norm_rms_epsilon" in refusal(found, tmp_path)


@pytest.mark.parametrize(
    "name, tensor, said",
    [
        (KEY, ((2**32, 2**32), FLOAT16, 0), "its tensors take"),
        (KEY, ((1,) * 5, FLOAT16, 0), "of 5 dimensions"),
        (KEY, ((WIDTH, WIDTH), 4, 0), "of type 4"),
        (KEY, ((WIDTH, WIDTH), FLOAT16, 2**62), "can't be read"),
        (KEY, ((WIDTH, 2), FLOAT16, 0), "of shape (2, 32), where (32, 32) is expected"),
        ("blk.1.attn_q.bias", ((WIDTH,), FLOAT16, 0), "1 tensors more than such a model (first: blk.1.attn_q.bias)"),
    ],
)
def test_tensors_that_no_such_model_has(found, tmp_path, name, tensor, said):
    found.tensors[name] = tensor
    found.data += bytes(4096)
    assert said in refusal(found, tmp_path)


@pytest.mark.parametrize("counts", [(2**64 - 1, 1), (21, 2**64 - 1), (2**64 - 1, 2**64 - 1)])
def test_counts_beyond_the_file(found, tmp_path, counts):
    assert "can't be read as GGUF" in refusal(found, tmp_path, counts)


def test_a_t5_with_a_position_bias_in_every_block(tmp_path):
    found = split_gguf(sound_gguf("t5encoder", "F16", 2, True, True))
    found.tensors["enc.blk.1.attn_rel_b.weight"] = found.tensors["enc.blk.0.attn_rel_b.weight"]
    found.data += bytes(4096)
    assert "first: enc.blk.1.attn_rel_b.weight" in refusal(found, tmp_path)


def test_a_t5_with_a_tokenizer_of_another_model(tmp_path):
    found = split_gguf(sound_gguf("t5encoder", "F16", 2, True, True))
    kind, tokens = found.metadata["tokenizer.ggml.tokens"]
    ours, other = (text_bytes(one) + text_bytes(two) for one, two in (("<pad>", "</s>"), ("</s>", "<pad>")))
    found.metadata["tokenizer.ggml.tokens"] = kind, tokens.replace(ours, other)
    assert "is no tokenizer of a T5" in refusal(found, tmp_path)
