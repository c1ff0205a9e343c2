"""Text models of each family against transformers' own last hidden state, padded and unpadded."""

import json
import shutil

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tiny_language_models import FAMILIES, make_language_model

from ella_core import ELLAError, load_text_encoder

TEXT = "a red fox reads a newspaper beside two green triangles"
# float16 keeps three digits and is summed in another order where a batch has padding.
TOLERANCE = {torch.float32: 1e-6, torch.float16: 1e-3}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of the models by family, made when they are asked for."""
    made = {}

    def folder_of(family):
        if family not in made:
            made[family] = make_language_model(tmp_path_factory.mktemp(family) / family, family)
        return made[family]

    return folder_of


def reference(folder, dtype):
    """transformers' own model, tokenizer and the states that its encoder or decoder makes of a batch."""
    model = transformers.AutoModel.from_pretrained(folder, dtype=dtype).eval()
    model = model.get_encoder() if model.config.is_encoder_decoder else model
    return model, transformers.AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_states_are_transformers_own(folders, family, dtype):
    model, tokenizer = reference(folders(family), dtype)
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    encoder = load_text_encoder(folders(family), dtype=dtype)
    assert (encoder.architecture, encoder.dtype, encoder.text_dim) == (family, dtype, 32)
    with torch.no_grad():
        expected = model(input_ids=ids).last_hidden_state
        padded_ids = torch.cat([ids, torch.zeros(1, 7, dtype=ids.dtype)], dim=1)
        mask = torch.cat([torch.ones_like(ids), torch.zeros(1, 7, dtype=ids.dtype)], dim=1)
        padded = model(input_ids=padded_ids, attention_mask=mask).last_hidden_state
    largest = expected.abs().max()
    assert encoder.token_ids(TEXT) == ids[0].tolist()
    assert (encoder.encode(TEXT) - expected).abs().max() <= TOLERANCE[dtype] * largest
    found = encoder.encode(TEXT, max_length=ids.shape[1] + 7)
    assert found.shape == padded.shape and found.dtype == dtype
    assert (found - padded).abs().max() <= TOLERANCE[dtype] * padded.abs().max()
    # What is padded changes nothing of what was there before, but for float16's order of summing.
    assert (found[:, : ids.shape[1]] - expected).abs().max() <= 4 * TOLERANCE[dtype] * largest


@pytest.mark.parametrize("family", ["bert", "llama", "qwen2", "t5gemma"])
def test_a_cut_prompt_keeps_what_the_tokenizer_adds(folders, family):
    encoder = load_text_encoder(folders(family))
    whole, cut = encoder.token_ids(TEXT), encoder.token_ids(TEXT, max_length=6)
    end = len(encoder.added.end)
    assert cut == whole[: 6 - end] + whole[len(whole) - end :]
    assert {"bert": (1, 1), "llama": (1, 0), "qwen2": (0, 0), "t5gemma": (0, 1)}[family] == (
        len(encoder.added.start),
        end,
    )


@pytest.mark.parametrize("family", ["bert", "llama", "qwen2", "t5gemma"])
def test_an_empty_prompt_has_text_states(folders, family):
    encoder = load_text_encoder(folders(family))
    states = encoder.encode("")
    assert states.shape[1] == max(1, len(encoder.added.start + encoder.added.end)) and states.isfinite().all()


def test_a_model_that_reads_left_to_right(folders):
    """The states of the first words don't change with the words after them; those of an encoder do."""
    for family, causal in (("llama", True), ("bert", False)):
        encoder = load_text_encoder(folders(family))
        ids = encoder.token_ids(TEXT)
        same = torch.allclose(encoder.read(ids)[:, :4], encoder.read(ids[:-3])[:, :4], atol=1e-5)
        assert same is causal


def test_shards(folders, tmp_path):
    folder = make_language_model(tmp_path / "shards", "llama", shards=True)
    assert len(list(folder.glob("*.safetensors"))) > 1
    assert torch.equal(load_text_encoder(folder).encode(TEXT), load_text_encoder(folders("llama")).encode(TEXT))


@pytest.fixture
def folder(folders, tmp_path):
    """A llama that may be damaged."""
    return shutil.copytree(folders("llama"), tmp_path / "llama")


def change_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def without_a_block(weights):
    for key in [key for key in weights if key.startswith("layers.1.mlp")]:
        del weights[key]


def of_another_shape(weights):
    weights["layers.0.mlp.up_proj.weight"] = torch.zeros(16, 32)


def not_finite(weights):
    weights["layers.2.self_attn.q_proj.weight"][3, 4] = float("nan")


def few_rows(weights):
    weights["embed_tokens.weight"] = weights["embed_tokens.weight"][:50].clone()


DAMAGE = {
    "lacks 3 of its tensors": lambda folder: change_weights(folder, without_a_block),
    "of another shape|can't be read as a language model": lambda folder: change_weights(folder, of_another_shape),
    "not finite in .*layers.2.self_attn.q_proj.weight": lambda folder: change_weights(folder, not_finite),
    "model_type None": lambda folder: change_config(folder, model_type=...),
    "can't be read as a language model": lambda folder: change_config(folder, model_type="llama99"),
    "belong to different models": lambda folder: change_config(folder, hidden_size=64),
    "num_hidden_layers is 1000000000, and its files hold no such": lambda folder: change_config(
        folder, num_hidden_layers=10**9
    ),
    "config.json for a model of .* weights, and its files hold": lambda folder: change_config(
        folder, intermediate_size=2**40
    ),
    "num_hidden_layers is 3.5": lambda folder: change_config(folder, num_hidden_layers=3.5),
    "has a decoder of its own": lambda folder: change_config(folder, model_type="bart", is_encoder_decoder=True),
    "tokenizer of .* token ids and a word embedding of 50": lambda folder: change_weights(folder, few_rows),
    "can't be read as a language model .*property name": lambda folder: (folder / "tokenizer.json").write_text("{"),
}


@pytest.mark.parametrize("sentence", DAMAGE)
def test_damage_is_one_sentence(folder, sentence):
    DAMAGE[sentence](folder)
    with pytest.raises(ELLAError, match=sentence) as refusal:
        load_text_encoder(folder)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) <= 400


def test_code_of_the_folder_is_never_run(folder):
    change_config(folder, model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModel": "own.Model"})
    (folder / "own.py").write_text("raise SystemExit('code of the folder was run')")
    with pytest.raises(ELLAError, match="can't be read as a language model"):
        load_text_encoder(folder)
