"""Connector files: what is written is what is loaded, other trainers' files too, and the page that describes them."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ella_core import ELLAError, TextEncoderFacts, load_connector, new_connector, save_connector

PAGE = Path(__file__).resolve().parents[3] / "docs/connector_format.md"
SIZES = {
    "mlp": {"width": 64, "text_dim": 16},
    "resampler": {"width": 64, "depth": 3, "num_heads": 4, "num_queries": 5, "text_dim": 16},
    "adaln-zero": {"width": 64, "depth": 2, "num_heads": 2, "num_queries": 5, "text_dim": 16, "pooled_dim": 24},
    "tsc": {"width": 64, "depth": 1, "num_heads": 16, "num_queries": 5, "text_dim": 16, "time_dim": 40},
}
T5 = {
    "architecture": "t5",
    "hidden_size": 16,
    "dtype": "float16",
    "layer": -1,
    "max_length": 128,
    "padding": True,
    "attention_mask": True,
    "name": "google/flan-t5-xl",
}


def metadata_in(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("kind", SIZES)
def test_round_trip(tmp_path, kind, dtype):
    path = tmp_path / "c.safetensors"
    saved = new_connector(kind, dtype=dtype, **SIZES[kind])
    save_connector(saved, path, base="sdxl", text_encoder=T5, steps=3, images=["a", 1.5])
    loaded = load_connector(path)
    assert type(loaded) is type(saved) and loaded.config == saved.config
    assert loaded.state_dict().keys() == saved.state_dict().keys()
    for key, weight in saved.state_dict().items():
        assert loaded.state_dict()[key].dtype == dtype and torch.equal(loaded.state_dict()[key], weight)
    assert not loaded.training and not any(weight.requires_grad for weight in loaded.parameters())
    assert loaded.facts.text_encoder == TextEncoderFacts(**T5)
    assert (loaded.facts.base, loaded.facts.training) == ("sdxl", {"steps": 3, "images": ["a", 1.5]})
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]

    again = tmp_path / "again.safetensors"
    save_connector(loaded, again)
    assert metadata_in(again) == metadata_in(path)
    assert all(torch.equal(weight, load_file(path)[key]) for key, weight in load_file(again).items())
    save_connector(loaded, again, steps=4)
    facts = load_connector(again).facts
    assert facts.text_encoder == loaded.facts.text_encoder
    assert facts.training == {"steps": 4, "images": ["a", 1.5]}


def test_the_metadata_is_what_the_page_says(tmp_path):
    save_connector(new_connector("tsc", **SIZES["tsc"]), tmp_path / "c.safetensors", text_encoder=T5, base="sd15")
    metadata = metadata_in(tmp_path / "c.safetensors")
    assert json.loads(metadata.pop("ella.text_encoder")) == T5
    numbers = SIZES["tsc"] | {"time_channels": 320, "pooled_dim": 0}
    assert metadata == {
        "ella.format": "1",
        "ella.connector": "tsc",
        "ella.base": "sd15",
        **{name: str(number) for name, number in numbers.items()},
    }


@pytest.mark.parametrize("kind", SIZES)
def test_the_kind_is_told_without_metadata(tmp_path, kind):
    saved = new_connector(kind, **SIZES[kind])
    save_file(saved.state_dict(), tmp_path / "c.safetensors", metadata={"heads": str(SIZES[kind].get("num_heads", 8))})
    loaded = load_connector(tmp_path / "c.safetensors")
    assert type(loaded) is type(saved) and loaded.config == saved.config
    assert loaded.facts.text_encoder is None and loaded.facts.training == {}


@pytest.mark.parametrize("width, depth", [(768, 6), (768, 2), (1024, 3)])
def test_the_released_layout_without_metadata(tmp_path, width, depth):
    """The released file is the first of these; other trainers use its layout with another width or depth."""
    saved = new_connector("tsc", width=width, time_dim=width, depth=depth, dtype=torch.float16)
    save_file(saved.state_dict(), tmp_path / "c.safetensors")
    loaded = load_connector(tmp_path / "c.safetensors")
    assert loaded.config == saved.config and loaded.config.num_heads == 8


def test_the_page_s_example_writes_a_file_that_loads(tmp_path, monkeypatch):
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[-1]
    assert "ella_core" not in example
    monkeypatch.chdir(tmp_path)
    exec(compile(example, str(PAGE), "exec"), {})
    connector = load_connector("my-connector.safetensors")
    assert connector.config.num_heads == 4 and connector.facts.base == "sd15"
    assert connector.facts.text_encoder.max_length == 128 and connector.facts.text_encoder.padding
    assert connector(torch.randn(1, 7, 32), torch.tensor([500])).shape == (1, 5, 64)


def test_the_page_names_every_tensor_and_size():
    page = PAGE.read_text()
    for kind, sizes in SIZES.items():
        connector = new_connector(kind, **sizes)
        for key in connector.state_dict():
            short = re.sub(r"blocks\.\d+\.", "blocks.N.", key).removesuffix(".weight").removesuffix(".bias")
            name = short.rsplit(".", 1)[-1] if "ln_" not in short else short.split("blocks.N.")[-1]
            assert name in page, key
        for size in sizes:
            assert f"`{size}`" in page


def test_the_page_s_released_text_encoder():
    (stated,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert TextEncoderFacts(**json.loads(stated)) == TextEncoderFacts(**T5 | {"hidden_size": 2048})


def metadata_of(**changes):
    metadata = {
        "ella.format": "1",
        "ella.connector": "resampler",
        "num_heads": "4",
        "ella.text_encoder": json.dumps(T5),
    } | changes
    return {key: value for key, value in metadata.items() if value is not None}


def encoder(**changes):
    return {"ella.text_encoder": json.dumps(T5 | changes)}


WRONG = {
    "another format": ({"ella.format": "2"}, "is written in format 2 of connector files, and format 1 is expected"),
    "another kind": ({"ella.connector": "moe"}, "kind moe, where one of mlp, resampler, adaln-zero, tsc is expected"),
    "the kind of other tensors": ({"ella.connector": "tsc"}, "has no tensor time_embedding.linear_1.weight"),
    "no heads": ({"num_heads": None}, 'states "no number" as num_heads'),
    "another width": ({"width": "768"}, "states 768 as width in its metadata, where 64 is expected by its tensors"),
    "no JSON": ({"ella.text_encoder": "t5"}, "states an ella.text_encoder that is no JSON object"),
    "a list": ({"ella.training": "[]"}, "states an ella.training that is no JSON object"),
    "long JSON": ({"ella.training": json.dumps({"x": "x" * 2**20})}, "states an ella.training that is no JSON object"),
    "long width": (
        {"ella.text_encoder": json.dumps({"architecture": "t5", "hidden_size": 10**4000})},
        r"states a language model of width 10+\.\.\.0+, and its",
    ),
    "deep JSON": ({"ella.training": "[" * 100_000}, "states an ella.training that is no JSON object"),
    "no architecture": ({"ella.text_encoder": '{"hidden_size": 16}'}, "has no architecture"),
    "a dtype of its own": (encoder(dtype="fp16"), "has a dtype that is not float16 or bfloat16 or float32"),
    "a layer from the front": (encoder(layer=24), "has a layer that is not a whole number below 0"),
    "padding to no length": (encoder(max_length=None), "has padding without a max_length"),
    "another language model": (encoder(hidden_size=2048), "a language model of width 2048, and its tensors read .* 16"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_metadata_gets_one_sentence(tmp_path, case):
    changes, expected = WRONG[case]
    tensors = new_connector("resampler", **SIZES["resampler"]).state_dict()
    save_file(tensors, tmp_path / "c.safetensors", metadata=metadata_of())
    assert load_connector(tmp_path / "c.safetensors").config.depth == 3
    save_file(tensors, tmp_path / "wrong.safetensors", metadata=metadata_of(**changes))
    with pytest.raises(ELLAError, match=expected) as error:
        load_connector(tmp_path / "wrong.safetensors")
    message = str(error.value)
    assert "\n" not in message and message.endswith(".") and message.startswith("wrong.safetensors ")
    assert len(message) < 500


def test_a_pool_on_a_width_without_its_heads(tmp_path):
    connector = new_connector("resampler", **SIZES["resampler"] | {"width": 96})
    pool = new_connector("resampler", **SIZES["resampler"], pooled_dim=8).pool.state_dict()
    tensors = connector.state_dict() | {f"pool.{key}": value for key, value in pool.items()}
    save_file(tensors, tmp_path / "wrong.safetensors", metadata={"num_heads": "4"})
    with pytest.raises(ELLAError, match="has a pool, whose heads of 64 numbers do not divide its width 96"):
        load_connector(tmp_path / "wrong.safetensors")


@pytest.mark.parametrize("missing", ["pool.c_proj.weight", "pool.q_proj.bias", "pool.positional_embedding"])
def test_half_a_pool(tmp_path, missing):
    save_connector(new_connector("adaln-zero", **SIZES["adaln-zero"]), tmp_path / "c.safetensors")
    tensors = load_file(tmp_path / "c.safetensors")
    del tensors[missing]
    save_file(tensors, tmp_path / "wrong.safetensors", metadata={"num_heads": "2"})
    with pytest.raises(ELLAError, match=missing):
        load_connector(tmp_path / "wrong.safetensors")


@pytest.mark.parametrize(
    "encoder, expected",
    [
        (T5 | {"hidden_size": 2048}, "hidden_size of 2048, and the connector reads text states of width 16"),
        ({"hidden_size": 16}, "The text_encoder of a connector has no architecture"),
    ],
)
def test_facts_that_are_wrong_are_not_written(tmp_path, encoder, expected):
    with pytest.raises(ELLAError, match=expected):
        save_connector(new_connector("mlp", **SIZES["mlp"]), tmp_path / "c.safetensors", text_encoder=encoder)
    assert not list(tmp_path.iterdir())
