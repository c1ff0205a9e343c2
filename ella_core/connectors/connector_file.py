"""What a connector file is: its sizes from tensors and metadata, and a strict load."""

from dataclasses import replace

import torch
from safetensors.torch import load_file

from ..block_shapes import MOST_BLOCKS, BlockShapes, count_blocks
from ..errors import ELLAError, file_name, quoted
from ..file_kind import kind_of
from ..finite import is_finite
from ..released import GET_CONNECTOR
from ..safetensors_file import read_header
from .tsc import ConnectorConfig, TimestepAwareSemanticConnector

DEFAULT_HEADS = 8  # of the released connector; the number of heads leaves no trace in the tensors
LARGEST_SIZE = 65536  # of any dimension that a connector's sizes are read from
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

    Raises ELLAError, naming what the file is where that can be told, when it is no connector or states sizes that no
    connector has.
    """
    name = file_name(header.path)
    if not any(key.startswith(BLOCKS) for key in header.shapes):
        names = ", ".join(map(quoted, sorted(header.shapes)[:2])) or "none"
        kind = kind_of(header.shapes) or f"not an ELLA connector (its tensors are {names} ...)"
        raise ELLAError(f"{name} is {kind}, where an ELLA connector is expected; {GET_CONNECTOR}.")
    sizes = {size: read_size(name, header.shapes, *place) for size, place in SIZES.items()}
    if sizes["time_channels"] % 2:
        raise ELLAError(
            f"{name} reads a sinusoid of {sizes['time_channels']} channels, where an even number is expected; "
            f"{GET_CONNECTOR}."
        )
    depth = max(count_blocks(header.shapes, BLOCKS), 1)  # without block 0, its tensors are what the file lacks
    if depth > MOST_BLOCKS:
        raise ELLAError(f"{name} has {depth} blocks, where at most {MOST_BLOCKS} are expected; {GET_CONNECTOR}.")
    return ConnectorConfig(depth=depth, num_heads=read_heads(name, header.metadata, sizes["width"]), **sizes)


def read_size(name, shapes, key, dimension):
    """One size of a connector, from a dimension of the matrix `key`; `name` is that of the file, for messages."""
    shape = shapes.get(key)
    if shape is None:
        raise ELLAError(
            f"{name} has no tensor {key}, which every ELLA connector has; download it again or {GET_CONNECTOR}."
        )
    if len(shape) != 2:
        raise ELLAError(
            f"{name} has {key} of shape {quoted(shape)} where two dimensions are expected; {GET_CONNECTOR}."
        )
    if not 1 <= shape[dimension] <= LARGEST_SIZE:
        raise ELLAError(
            f"{name} has {key} of shape {quoted(shape)} where sizes from 1 to {LARGEST_SIZE} are expected; "
            f"{GET_CONNECTOR}."
        )
    return shape[dimension]


def read_heads(name, metadata, width):
    """The number of attention heads that the metadata states, else 8; ELLAError where they don't divide the width."""
    heads = metadata.get("num_heads", metadata.get("heads", str(DEFAULT_HEADS)))
    is_size = heads.isascii() and heads.isdecimal() and len(heads) <= len(str(LARGEST_SIZE))
    if not is_size or int(heads) == 0 or width % int(heads):
        raise ELLAError(
            f"{name} states {quoted(heads)} attention heads, which do not divide its width {width}; correct num_heads "
            f"in its metadata or {GET_CONNECTOR}."
        )
    return int(heads)


def expected_shapes(config):
    """The tensors of a connector of these sizes, name -> shape; a network of two blocks tells those of any depth."""
    with torch.device("meta"):
        two = TimestepAwareSemanticConnector(replace(config, depth=2)).state_dict()
    return BlockShapes({key: tuple(tensor.shape) for key, tensor in two.items()}, BLOCKS, config.depth)


def check_tensors(header, expected):
    """Raises ELLAError unless the file has exactly the tensors of `expected` (name -> shape) in their shapes."""
    name = file_name(header.path)
    extra = [key for key in header.shapes if key not in expected]
    missing = len(expected) - (len(header.shapes) - len(extra))
    if missing or extra:
        found = []
        if missing:
            first = next(key for key in expected if key not in header.shapes)
            found.append(f"lacks {missing} of the {len(expected)} tensors expected (first: {first})")
        if extra:
            found.append(f"has {len(extra)} tensors too many (first: {quoted(extra[0])})")
        raise ELLAError(f"{name} {' and '.join(found)}; download it again or {GET_CONNECTOR}.")
    for key, shape in expected.items():
        if header.shapes[key] != shape:
            raise ELLAError(
                f"{name} has {key} of shape {quoted(header.shapes[key])} where {shape} is expected; download it again "
                f"or {GET_CONNECTOR}."
            )
        if header.dtypes[key] not in DTYPES:
            raise ELLAError(
                f"{name} stores {key} as {header.dtypes[key]}, which the connector can't compute with; use a float16, "
                "bfloat16 or float32 file."
            )


def check_connector(header):
    """ConnectorConfig of a header with exactly a connector's tensors; raises ELLAError for any other."""
    config = read_config(header)
    check_tensors(header, expected_shapes(config))
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
        if not is_finite(weight):
            raise ELLAError(
                f"{file_name(header.path)} holds values that are not finite in {key}, so every picture would be "
                f"black; download it again or {GET_CONNECTOR}."
            )
    connector.load_state_dict(weights, strict=True, assign=True)
    return connector.requires_grad_(False).eval()
