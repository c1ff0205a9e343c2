"""The text encoder against transformers in float16 (tests/data/t5_overflow), whose float32 states are others."""

import json
import shutil

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from t5_tokenizer import write_tokenizer

from ella_core import ELLAError, load_text_encoder

CASES = [(name, kind) for name in ("prompt", "empty", "unicode") for kind in ("flexible", "fixed128")]
LENGTHS = {"flexible": 0, "fixed128": 128}
# Both sides run transformers in float16; only the order of sums may differ between processors.
COSINE = 0.9995


@pytest.fixture(scope="module")
def expected(data):
    path = data / "t5_overflow/expected.safetensors"
    with safe_open(path, "pt") as file:
        texts = json.loads(file.metadata()["texts"])
    return load_file(path), texts


def cosine(found, expected):
    """Cosine of the token (T, D) that is farthest from what is expected."""
    return float(torch.nn.functional.cosine_similarity(found.double(), expected.double(), dim=-1).min())


class GoldenIds:
    """Tokenizer that gives the golden file's own ids, for the states alone; the real one is tested in the host."""

    def __init__(self, ids):
        self.ids = ids

    def __call__(self, text):
        return {"input_ids": self.ids[text]}


@pytest.fixture(scope="module")
def golden_folder(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("t5") / "t5"
    shutil.copytree(data / "t5_overflow", folder)
    (folder / "expected.safetensors").unlink()
    write_tokenizer(folder / "tokenizer.json")
    return folder


@pytest.fixture(scope="module")
def encoder(golden_folder, expected):
    tensors, texts = expected
    encoder = load_text_encoder(golden_folder)
    encoder.tokenizer = GoldenIds({text: tensors[f"ids.{name}.flexible"].tolist() for name, text in texts.items()})
    return encoder


@pytest.mark.parametrize("name, kind", CASES)
def test_states_are_those_of_transformers_in_float16(encoder, expected, name, kind):
    tensors, texts = expected
    assert encoder.token_ids(texts[name], LENGTHS[kind]) == tensors[f"ids.{name}.{kind}"].tolist()
    states = encoder.encode(texts[name], max_length=LENGTHS[kind])
    assert states.dtype == torch.float16 and states.shape[0] == 1
    assert cosine(states[0], tensors[f"states.{name}.{kind}"]) > COSINE


def test_float32_would_give_other_states(golden_folder, expected):
    """The comparison above can fail: the same weights computed in float32 miss it by far (0.80 for the prompt)."""
    tensors, _ = expected
    encoder = load_text_encoder(golden_folder).float()
    for name in ("prompt", "unicode"):
        states = encoder.read(tensors[f"ids.{name}.flexible"].tolist())
        assert cosine(states[0], tensors[f"states.{name}.flexible"]) < 0.9


def test_every_weight_is_float16(encoder):
    assert {weight.dtype for weight in encoder.state_dict().values()} == {torch.float16}


def test_float32_files_are_computed_in_float16(golden_folder, tmp_path, expected):
    tensors, _ = expected
    folder = tmp_path / "float32"
    shutil.copytree(golden_folder, folder)
    weights = load_file(golden_folder / "model.safetensors")
    save_file({key: weight.float() for key, weight in weights.items()}, folder / "model.safetensors")
    states = load_text_encoder(folder).read(tensors["ids.prompt.flexible"].tolist())
    assert cosine(states[0], tensors["states.prompt.flexible"]) > COSINE


def split_into_shards(folder, count=3):
    weights = load_file(folder / "model.safetensors")
    keys = sorted(weights)
    names, weight_map = [], {}
    for i in range(count):
        names.append(f"model-0000{i + 1}-of-0000{count}.safetensors")
        shard = {key: weights[key] for key in keys[i::count]}
        save_file(shard, folder / names[-1])
        weight_map |= dict.fromkeys(shard, names[-1])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    (folder / "model.safetensors").unlink()
    return names


def with_prefix(folder, prefix):
    for path in list(folder.iterdir()):
        path.rename(path.with_name(prefix + path.name))


def with_rows(folder, rows):
    """Cuts the embedding, for a tokenizer of so many token ids."""
    weights = load_file(folder / "model.safetensors")
    weights["shared.weight"] = weights["shared.weight"][:rows].contiguous()
    save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows}))


PREFIX = "models--google--flan-t5-xl--text_encoder_"
LAYOUTS = {
    "folder": lambda folder: folder,
    "sharded folder": lambda folder: split_into_shards(folder) and folder,
    "folder of prefixed files": lambda folder: with_prefix(folder, PREFIX) or folder,
    "sharded, prefixed": lambda folder: split_into_shards(folder) and (with_prefix(folder, PREFIX) or folder),
    "prefix that files share": lambda folder: with_prefix(folder, PREFIX) or folder / PREFIX.rstrip("_"),
    "single prefixed file, tokenizer beside it": lambda folder: (
        with_prefix(folder, PREFIX) or folder / (PREFIX + "model.safetensors")
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_as_users_have_them(golden_folder, tmp_path, expected, layout):
    tensors, _ = expected
    folder = tmp_path / "a folder, mit \u00dc \u6587"
    shutil.copytree(golden_folder, folder)
    encoder = load_text_encoder(LAYOUTS[layout](folder))
    states = encoder.read(tensors["ids.prompt.flexible"].tolist())
    assert cosine(states[0], tensors["states.prompt.flexible"]) > COSINE
    assert encoder.token_ids("a red fox") == [5, 6, 7, 1]


@pytest.mark.parametrize("ending", [".safetensors", ".sft", ".SAFETENSORS"])
def test_single_file_with_a_given_tokenizer(golden_folder, tmp_path, expected, ending):
    tensors, _ = expected
    weights = shutil.copy(golden_folder / "model.safetensors", tmp_path / ("flan" + ending))
    encoder = load_text_encoder(weights, tokenizer=str(golden_folder / "tokenizer.json"))
    states = encoder.read(tensors["ids.prompt.flexible"].tolist())
    assert cosine(states[0], tensors["states.prompt.flexible"]) > COSINE
    assert encoder.token_ids("a red fox", 2) == [5, 1]
    assert encoder.token_ids("a red fox", 6) == [5, 6, 7, 1, 0, 0]


def test_decoder_weights_are_not_read(golden_folder, tmp_path, expected):
    """The whole FLAN-T5 repository, decoder and all, is a text encoder too."""
    tensors, _ = expected
    folder = tmp_path / "whole"
    shutil.copytree(golden_folder, folder)
    weights = load_file(folder / "model.safetensors")
    weights |= {
        "decoder.block.0.layer.0.SelfAttention.q.weight": torch.zeros(32, 32),
        "lm_head.weight": torch.zeros(9, 32),
    }
    save_file(weights, folder / "model.safetensors")
    states = load_text_encoder(folder).read(tensors["ids.prompt.flexible"].tolist())
    assert cosine(states[0], tensors["states.prompt.flexible"]) > COSINE


def test_spiece_model_alone_is_a_tokenizer(golden_folder, tmp_path):
    import sentencepiece

    folder = tmp_path / "spiece"
    shutil.copytree(golden_folder, folder)
    (folder / "tokenizer.json").unlink()
    (tmp_path / "corpus.txt").write_text("a red fox reads a newspaper\nbeside a blue teapot\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "corpus.txt"),
        model_prefix=str(folder / "spiece"),
        vocab_size=40,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "spiece.vocab").unlink()
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    with_rows(folder, pieces.get_piece_size())
    encoder = load_text_encoder(folder)
    for text in ("a red fox", "beside a blue teapot", ""):
        assert encoder.token_ids(text) == pieces.encode(text) + [1]


def test_padding_does_not_change_the_text(encoder, expected):
    _, texts = expected
    short, long = encoder.encode(texts["prompt"]), encoder.encode(texts["prompt"], max_length=128)
    assert cosine(short[0], long[0, : short.shape[1]]) > COSINE


def test_no_tokenizer_is_said(golden_folder, tmp_path):
    shutil.copy(golden_folder / "model.safetensors", tmp_path / "flan.safetensors")
    with pytest.raises(ELLAError, match="flan.safetensors comes without a tokenizer.json or spiece.model"):
        load_text_encoder(tmp_path / "flan.safetensors")
