"""What a language model read of the training's captions: kept, gone on with, and refused where it is of others."""

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from ella_core import load_text_encoder
from ella_core.errors import ELLAError
from small_world import scene_data
from small_world.autoencoder import TinyAutoencoder
from small_world.base_model import latents_of, training_scenes
from small_world.scene_data import LENGTH, caption_of, read_captions, scene_of


@pytest.fixture
def encoder(tmp_path):
    """A BERT of random weights whose vocabulary is the captions' letters."""
    words = ["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz,."]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save(str(tmp_path / "bert.json"))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "bert.json"), pad_token="[PAD]")
    fast.save_pretrained(tmp_path / "bert")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(vocab_size=len(words), **sizes)).save_pretrained(tmp_path / "bert")
    encoder = load_text_encoder(tmp_path / "bert")
    encoder.read_weights()
    return encoder


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(scene_data, "PART", 4)
    monkeypatch.setattr(scene_data, "DENSE", 6)


def test_captions_are_read_once_and_part_by_part(encoder, tmp_path):
    file = tmp_path / "tiny"
    states, empty, facts = read_captions(encoder, 6, file, "tiny")
    assert states.shape == (6, LENGTH, 16) and states.dtype == torch.float16 and empty.shape == (1, LENGTH, 16)
    assert (facts["name"], facts["max_length"], facts["padding"]) == ("tiny", LENGTH, True)
    assert all(torch.equal(states[i], encoder.encode(caption_of(i), LENGTH)[0].half()) for i in range(6))
    kept = sorted(tmp_path.glob("tiny.*"))
    times = [part.stat().st_mtime_ns for part in kept]
    longer, _, _ = read_captions(encoder, 10, file, "tiny")
    assert torch.equal(longer[:6], states)
    assert [part.stat().st_mtime_ns for part in kept] == times and len(sorted(tmp_path.glob("tiny.*"))) == len(kept) + 1


def test_what_was_read_of_other_captions_or_by_another_model_is_refused(encoder, tmp_path, monkeypatch):
    read_captions(encoder, 6, tmp_path / "tiny", "tiny")
    with pytest.raises(ELLAError, match=r"tiny.000000.safetensors holds what tiny read .* give another folder"):
        read_captions(encoder, 6, tmp_path / "tiny", "other")
    monkeypatch.setattr(scene_data, "caption_of", lambda number: "a fox")
    with pytest.raises(ELLAError, match="of other captions"):
        read_captions(encoder, 6, tmp_path / "tiny", "tiny")


def test_later_scenes_are_arranged_and_their_latents_are_those_of_their_pictures(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(scene_data, "_read_with", lambda *asked: (encoder, read))
    torch.manual_seed(0)
    autoencoder = TinyAutoencoder(16)
    read = read_captions(encoder, 10, tmp_path / "tiny", "tiny")
    _, data = scene_data.read_scenes(autoencoder, "tiny", tmp_path, 10, seed=0)
    dense, arranged = latents_of(autoencoder, training_scenes(8)), data.latents[6:]
    torch.testing.assert_close(data.latents[:6], dense[:6])
    assert not torch.isclose(arranged[:2], dense[6:]).all()
    torch.testing.assert_close(arranged, latents_of(autoencoder, [scene_of(number) for number in range(6, 10)]))
