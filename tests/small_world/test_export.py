"""What is stored narrow in float16 is small, always the same, and draws in ComfyUI what it drew narrow."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ella_core import load_connector, new_connector, save_connector
from ella_core.errors import ELLAError
from small_world import models_folder
from small_world.autoencoder import TinyAutoencoder
from small_world.base_model import Base, load_autoencoder, load_base
from small_world.export import FILES, export
from small_world.models_folder import CHECKPOINT, CONNECTOR, make_models
from small_world.text_encoder import rows_of
from small_world.widen import LATENT_SCALE
from training.host_base import host_module

REPO = Path(__file__).resolve().parents[2]
TEXT_ENCODER = {
    "architecture": "bert",
    "hidden_size": 384,
    "dtype": "float32",
    "max_length": 128,
    "padding": True,
    "name": "sentence-transformers/all-MiniLM-L6-v2",
}
SIZES = {"width": 96, "text_dim": 384, "time_dim": 96}
# Weights and channels in float16 are off by 5e-4 each; some tens of layers add them up.
HALF = 1e-2


def shaken(module):
    """The same with every weight away from its first value, so that zero-initialised layers count too."""
    with torch.no_grad():
        for weight in module.parameters():
            weight += 0.05 * torch.randn_like(weight)
    return module.eval().requires_grad_(False)


def relative(found, expected):
    return ((found.float() - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(folder of a base, file of a connector), as their trainings leave them, of random weights."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("trained")
    base = shaken(Base())
    base.text_encoder.model.get_input_embeddings().weight[-1] = 0
    save_file(base.state_dict(), folder / FILES[0])
    save_file(shaken(TinyAutoencoder(16)).state_dict(), folder / FILES[1])
    connector = shaken(new_connector("tsc", depth=2, **SIZES))
    save_connector(connector, folder / "tsc.safetensors", base="small-world", text_encoder=TEXT_ENCODER, steps=7)
    return folder, folder / "tsc.safetensors"


@pytest.fixture(scope="module")
def stored(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("stored")
    export(*trained, out)
    return out


@pytest.fixture(scope="module")
def models(stored, tmp_path_factory):
    """The folder of models made of it; the language model has tests of its own."""
    out = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models_folder, "language_model", lambda name, folder: folder / name)
        assert make_models(stored, out)
        times = [(out / name).stat().st_mtime_ns for name in (CHECKPOINT, CONNECTOR)]
        assert not make_models(stored, out)
        assert [(out / name).stat().st_mtime_ns for name in (CHECKPOINT, CONNECTOR)] == times
    return out


def test_it_is_float16_and_the_same_bytes_in_another_process(trained, stored, tmp_path):
    command = [sys.executable, "-m", "small_world", "export", "--base", trained[0], "--connector", trained[1]]
    result = subprocess.run([*command, "--out", tmp_path], cwd=REPO, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "9." in result.stderr or "10." in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (stored / name).read_bytes()
        assert {tensor.dtype for tensor in load_file(stored / name).values()} == {torch.float16}


def test_the_connector_keeps_what_it_says_of_its_training(trained, stored, models):
    known = load_connector(trained[1]).facts
    assert load_connector(stored / FILES[2]).facts == known
    wide = load_connector(models / CONNECTOR)
    assert (wide.facts.text_encoder, wide.facts.training) == (known.text_encoder, known.training)
    assert (wide.facts.base, wide.config.width) == ("sd15", 768)
    with safe_open(stored / FILES[2], "pt") as opened:
        assert opened.metadata()["ella.connector"] == "tsc"


@torch.inference_mode()
def test_comfyui_computes_what_the_narrow_ones_compute(trained, stored, models):
    base, autoencoder = load_base(trained[0]), load_autoencoder(trained[0])
    model, clip, vae, _ = host_module("comfy.sd").load_checkpoint_guess_config(str(models / CHECKPOINT))
    noisy, timesteps, context = torch.randn(2, 4, 8, 8), torch.tensor([3, 871]), torch.randn(2, 64, 96)
    unet = model.model.diffusion_model.float()
    found = unet(noisy, timesteps, context.repeat_interleave(8, -1))
    assert relative(found, base.unet(noisy, timesteps, context)) < HALF
    prompt = "a red circle upper left, two small blue squares"
    own = clip.encode_from_tokens(clip.tokenize(prompt))[..., ::8]
    assert relative(own, base.text_encoder(rows_of([prompt]))) < HALF
    decoded = vae.decode(noisy[:1] / LATENT_SCALE).movedim(-1, 1)
    assert relative(decoded, autoencoder.decode(noisy[:1]).clamp(0, 1)) < 2e-2  # the host may decode in bfloat16
    states = torch.randn(2, 19, 384)
    narrow, wide = load_connector(trained[1]), load_connector(models / CONNECTOR).float()
    expected = narrow(states, timesteps)
    assert relative(wide(states, timesteps), expected.repeat_interleave(8, -1)) < HALF


def refused(*arguments):
    with pytest.raises(ELLAError) as error:
        export(*arguments)
    return str(error.value)


def test_what_can_not_be_stored_is_refused_and_nothing_is_written(trained, tmp_path):
    folder, connector = trained
    out = tmp_path / "out"
    assert "base.safetensors is not there; train it with" in refused(tmp_path, connector, out)
    many = tmp_path / "many.safetensors"
    save_connector(new_connector("tsc", depth=24, **SIZES), many, text_encoder=TEXT_ENCODER)
    assert "at most 16 MB are expected" in refused(folder, many, out)
    wide = tmp_path / "wide.safetensors"
    save_connector(new_connector("mlp", width=768, text_dim=384), wide, text_encoder=TEXT_ENCODER)
    assert "tokens of width 768, where 96 are expected" in refused(folder, wide, out)
    silent = tmp_path / "silent.safetensors"
    save_connector(new_connector("mlp", width=96, text_dim=384), silent)
    assert "does not state its language model" in refused(folder, silent, out)
    large = new_connector("mlp", width=96, text_dim=384)
    torch.nn.init.constant_(next(large.parameters()), 1e6)
    save_connector(large, tmp_path / "large.safetensors", text_encoder=TEXT_ENCODER)
    assert "too large for float16" in refused(folder, tmp_path / "large.safetensors", out)
    assert not out.exists() or not any(out.iterdir())
    with pytest.raises(ELLAError, match="lacks base.safetensors and autoencoder.safetensors and connector"):
        make_models(tmp_path, tmp_path / "models")


def test_models_of_other_files_are_made_again(stored, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(models_folder, "language_model", lambda name, folder: folder / name)
    monkeypatch.setattr(models_folder, "save_checkpoint", lambda *arguments: made.append(arguments))
    (tmp_path / models_folder.MADE_FROM).write_text("other files")
    assert make_models(stored, tmp_path) and not make_models(stored, tmp_path)
    assert len(made) == 1
