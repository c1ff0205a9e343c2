"""What a connector file is: its sizes from tensors and metadata, and a strict load."""

from __future__ import annotations

import os

import torch
from safetensors.torch import load_file

from ..errors import ELLAError
from ..file_kind import kind_of
from ..safetensors_file import read_header
from .tsc import ConnectorConfig, TimestepAwareSemanticConnector

DEFAULT_HEADS = 8  # of the released connector; the number of heads leaves no trace in the tensors
RELEASED = "ella-sd1.5-tsc-t5xl.safetensors"
GET_ANOTHER = f"use a connector such as {RELEASED} (huggingface.co/QQGYLab/ELLA)"
DTYPES = ("F16", "BF16", "F32", "F64")

# Where each size is read, as (tensor, dimension).
SIZES = {
    "width": ("connector.latents", 1),
    "num_queries": ("connector.latents", 0),
    "text_dim": ("connector.proj_in.weight", 1),
    "time_channels": ("time_embedding.linear_1.weight", 1),
    "time_dim": ("time_embedding.linear_1.weight", 0),
}
BLOCKS = "connector.perceiver_blocks."


def read_config(header):
    """ConnectorConfig of a connector file's header; num_heads from metadata ("num_heads" or "heads"), else 8.

    Raises ELLAError, naming what the file is where that can be told, when it is no connector.
    """
    name = os.path.basename(header.path)
    if not any(key.startswith(BLOCKS) for key in header.shapes):
        kind = (
            kind_of(header.shapes)
            or f"not an ELLA connector (its tensors are {', '.join(sorted(header.shapes)[:2]) or 'none'} ...)"
        )
        raise ELLAError(f"{name} is {kind}, where an ELLA connector is expected; {GET_ANOTHER}.")
    sizes = {}
    for size, (key, dimension) in SIZES.items():
        shape = header.shapes.get(key)
        if shape is None:
            raise ELLAError(
                f"{name} has no tensor {key}, which every ELLA connector has; download it again or {GET_ANOTHER}."
            )
        if len(shape) != 2:
            raise ELLAError(f"{name} has {key} of shape {shape} where two dimensions are expected; {GET_ANOTHER}.")
        sizes[size] = shape[dimension]
    blocks = {key[len(BLOCKS) :].split(".")[0] for key in header.shapes if key.startswith(BLOCKS)}
    depth = 1 + max((int(block) for block in blocks if block.isdecimal()), default=0)
    heads = header.metadata.get("num_heads", header.metadata.get("heads", DEFAULT_HEADS))
    if not str(heads).isdecimal() or int(heads) == 0 or sizes["width"] % int(heads):
        raise ELLAError(
            f"{name} states {heads} attention heads, which do not divide its width {sizes['width']}; correct num_heads "
            f"in its metadata or {GET_ANOTHER}."
        )
    return ConnectorConfig(depth=depth, num_heads=int(heads), **sizes)


def check_tensors(header, expected):
    """Raises ELLAError unless the file has exactly the tensors of `expected` (name -> tensor) in their shapes."""
    name = os.path.basename(header.path)
    missing = [key for key in expected if key not in header.shapes]
    extra = [key for key in header.shapes if key not in expected]
    if missing or extra:
        found = []
        if missing:
            found.append(
                f"lacks {len(missing)} of the {len(expected)} tensors of such a connector (first: {missing[0]})"
            )
        if extra:
            found.append(f"has {len(extra)} tensors too many (first: {extra[0]})")
        raise ELLAError(f"{name} {' and '.join(found)}; download it again or {GET_ANOTHER}.")
    for key, tensor in expected.items():
        if header.shapes[key] != tuple(tensor.shape):
            raise ELLAError(
                f"{name} has {key} of shape {header.shapes[key]} where {tuple(tensor.shape)} is expected; download it "
                f"again or {GET_ANOTHER}."
            )
        if header.dtypes[key] not in DTYPES:
            raise ELLAError(
                f"{name} stores {key} as {header.dtypes[key]}, which the connector can't compute with; use a float16, "
                "bfloat16 or float32 file."
            )


def check_connector(header):
    """ConnectorConfig of a header with exactly a connector's tensors; raises ELLAError for any other."""
    config = read_config(header)
    with torch.device("meta"):
        check_tensors(header, TimestepAwareSemanticConnector(config).state_dict())
    return config


def load_connector(path, operations=torch.nn):
    """The connector in the safetensors file at `path`, in eval mode, frozen, its weights as stored.

    The whole header is checked before a tensor is read. `operations` is the namespace of layer classes, see
    TimestepAwareSemanticConnector.

    Raises ELLAError for a file that is missing, damaged, something else, of other names or shapes, or holds NaN.
    """
    header = read_header(path)
    config = check_connector(header)
    with torch.device("meta"):
        connector = TimestepAwareSemanticConnector(config, operations)
    weights = load_file(header.path)
    for key, weight in weights.items():
        if not weight.isfinite().all():
            raise ELLAError(
                f"{os.path.basename(header.path)} holds values that are not finite in {key}, so every picture would be "
                f"black; download it again or {GET_ANOTHER}."
            )
    connector.load_state_dict(weights, strict=True, assign=True)
    return connector.requires_grad_(False).eval()
