"""Stores a trained base, its autoencoder and a connector narrow and in float16, as assets/small_world holds them.

    python -m small_world export --base RUN --connector CONNECTOR.safetensors --out assets/small_world

The same weights give the same bytes.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from ella_core import load_connector, save_connector
from ella_core.errors import ELLAError

from .narrow_unet import CONTEXT

FILES = ("base.safetensors", "autoencoder.safetensors", "connector.safetensors")
MOST_BYTES = 16_000_000


def export(base: Path, connector: Path, out: Path) -> int:
    """Writes `FILES` into `out` and returns how many bytes they are together.

    Raises:
        ELLAError: a part is missing, fits no narrow base or does not say how it was trained, a weight is too large
            for float16, or all of them together are more than `MOST_BYTES`. Nothing is written then.
    """
    files = {name: save(_halved(_weights(base / name), name)) for name in FILES[:2]}
    files[FILES[2]] = _connector(connector, out)
    size = sum(map(len, files.values()))
    if size > MOST_BYTES:
        raise ELLAError(
            f"Base, autoencoder and connector take {size / 1e6:.1f} MB together and at most {MOST_BYTES / 1e6:.0f} MB "
            "are expected; choose a connector with fewer blocks."
        )
    for name, data in files.items():
        (out / f"{name}.part").write_bytes(data)
    for name in files:
        (out / f"{name}.part").replace(out / name)
    return size


def sorted_header(data: bytes) -> bytes:
    """A safetensors file with its metadata in alphabetical order, which the library writes in any order."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps({"__metadata__": header.pop("__metadata__")} | header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _weights(file: Path) -> dict[str, torch.Tensor]:
    if not file.is_file():
        raise ELLAError(f"{file} is not there; train it with: python -m small_world base --out {file.parent}.")
    return load_file(file)


def _halved(weights: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    halves = {key: value.half().contiguous() for key, value in weights.items()}
    for key, value in halves.items():
        if not torch.isfinite(value).all():
            raise ELLAError(f"{name} has values in {key} that are too large for float16; train with a lower rate.")
    return halves


def _connector(path: Path, out: Path) -> bytes:
    connector = load_connector(path)
    encoder = connector.facts.text_encoder
    if connector.config.width != CONTEXT:
        raise ELLAError(
            f"{path.name} makes tokens of width {connector.config.width}, where {CONTEXT} are expected; give one that "
            "was trained on the narrow base."
        )
    if encoder is None or encoder.max_length is None:
        raise ELLAError(
            f"{path.name} does not state its language model and where texts were cut, without which nobody can "
            "draw with it; give one that python -m small_world study wrote."
        )
    connector.load_state_dict(_halved(connector.state_dict(), path.name), assign=True)
    out.mkdir(parents=True, exist_ok=True)
    written = out / "connector.safetensors.narrow"
    save_connector(connector, written)
    data = sorted_header(written.read_bytes())
    written.unlink()
    return data
