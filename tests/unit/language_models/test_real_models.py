"""Language models with real weights, one encoder and one decoder, that packages of the index carry."""

import warnings
from pathlib import Path

import pytest
import torch
import transformers

from ella_core import ELLAError, load_text_encoder
from small_world.packaged_models import language_model

KEPT = Path(__file__).resolve().parents[3] / ".host/packages"  # between runs; not tracked
TEXTS = ("a red fox in a green coat reads a newspaper", "two small triangles above a large square", "fox", "")


def real_model(name):
    """The path of a packaged model, downloaded once; skips, saying so, where there is no index."""
    try:
        return language_model(name, KEPT)
    except ELLAError as error:
        warnings.warn(f"no real language model was tested: {error}", stacklevel=1)
        pytest.skip(f"the package of {name} can't be downloaded here")


def similarity(found, expected):
    return torch.nn.functional.cosine_similarity(found.flatten().double(), expected.flatten().double(), dim=0).item()


def test_minilm_reads_as_transformers_lets_it():
    """all-MiniLM-L6-v2: an encoder with WordPiece, 384 wide."""
    folder = real_model("minilm")
    encoder = load_text_encoder(folder)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert (encoder.architecture, encoder.text_dim) == ("bert", 384)
    for text in TEXTS:
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        assert (encoder.encode(text) - expected).abs().max() <= 1e-6 * expected.abs().max()
    # It means something: a fox is nearer to a wolf than to a newspaper.
    fox, wolf, paper = (encoder.encode(word)[0, 1] for word in ("fox", "wolf", "newspaper"))
    assert similarity(fox, wolf) > similarity(fox, paper)


def test_smollm_of_a_gguf_file_reads_as_transformers_lets_it():
    """SmolLM2-135M-Instruct in Q4_1: a decoder as Llama with byte BPE, 576 wide."""
    path = real_model("smollm")
    encoder = load_text_encoder(path)
    assert (encoder.architecture, encoder.text_dim, encoder.dtype) == ("llama", 576, torch.float32)
    model = transformers.AutoModel.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    for text in TEXTS[:3]:
        ids = encoder.token_ids(text)
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([ids])).last_hidden_state
        assert (encoder.encode(text) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert encoder.encode("").shape == (1, 1, 576)
