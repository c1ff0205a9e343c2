"""What a connector file is: its kind and sizes from tensors and metadata, a strict load, and how one is written.

docs/connector_format.md says it for whoever writes such files.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields, replace

import torch
from safetensors.torch import load_file, save_file

from ..block_shapes import MOST_BLOCKS, BlockShapes, count_blocks
from ..errors import ELLAError, file_name, quoted
from ..file_kind import kind_of
from ..finite import is_finite
from ..released import GET_CONNECTOR
from ..safetensors_file import read_header
from .connector import Connector
from .facts import ConnectorFacts, read_facts, text_encoder_facts
from .kinds import BLOCKS, NAMES, OF_POOL, kind_named, kind_of_network, kind_of_tensors
from .layers import POOL_HEAD_DIM

FORMAT = "1"
DEFAULT_HEADS = 8  # of the released connector; the number of heads leaves no trace in the tensors
LARGEST_SIZE = 65536  # of any dimension that a connector's sizes are read from
DTYPES = ("F16", "BF16", "F32", "F64")


@dataclass(frozen=True)
class ConnectorFile:
    """What a connector's file says before its tensors are read: the network's class, its sizes, its training."""

    kind: str
    network: type[Connector]
    config: object
    facts: ConnectorFacts


def check_connector(header):
    """ConnectorFile of a header with exactly a connector's tensors; raises ELLAError for any other."""
    kind = read_kind(header)
    config = read_config(header, kind)
    check_tensors(header, expected_shapes(kind.network, config))
    return ConnectorFile(kind.name, kind.network, config, facts_of(header, config))


def read_kind(header):
    """The row of `kinds.py` of a connector file: by its metadata, else by its tensors' names.

    Raises ELLAError, naming what the file is where that can be told, when it is no connector, and for a kind or format
    that this version does not know.
    """
    name, metadata = file_name(header.path), header.metadata
    of_tensors = kind_of_tensors(header.shapes)
    if of_tensors is None:
        names = ", ".join(map(quoted, sorted(header.shapes)[:2])) or "none"
        kind = kind_of(header.shapes) or f"not an ELLA connector (its tensors are {names} ...)"
        raise ELLAError(f"{name} is {kind}, where an ELLA connector is expected; {GET_CONNECTOR}.")
    if metadata.get("ella.format", FORMAT) != FORMAT:
        raise ELLAError(
            f"{name} is written in format {quoted(metadata['ella.format'])} of connector files, and format {FORMAT} is "
            f"expected; update this pack or {GET_CONNECTOR}."
        )
    stated = metadata.get("ella.connector", of_tensors.name)
    kind = kind_named(stated)
    if kind is None:
        raise ELLAError(
            f"{name} is a connector of kind {quoted(stated)}, where one of {NAMES} is expected; update this pack or "
            f"{GET_CONNECTOR}."
        )
    return kind


def read_config(header, kind):
    """The sizes of a connector of that kind, by its tensors; num_heads from metadata ("num_heads" or "heads"), else 8.

    Raises ELLAError for sizes that no connector has, or that the metadata states otherwise.
    """
    name = file_name(header.path)
    sizes = {size: read_size(name, header.shapes, *place) for size, place in kind.sizes.items()}
    if kind.has("pooled_dim") and any(key.startswith("pool.") for key in header.shapes):
        sizes |= {size: read_size(name, header.shapes, *place) for size, place in OF_POOL.items()}
        if sizes["width"] % POOL_HEAD_DIM:
            raise ELLAError(
                f"{name} has a pool, whose heads of {POOL_HEAD_DIM} numbers do not divide its width {sizes['width']}; "
                f"{GET_CONNECTOR}."
            )
    if sizes.get("time_channels", 2) % 2:
        raise ELLAError(
            f"{name} reads a sinusoid of {sizes['time_channels']} channels, where an even number is expected; "
            f"{GET_CONNECTOR}."
        )
    if kind.has("depth"):
        depth = max(count_blocks(header.shapes, BLOCKS), 1)  # without block 0, its tensors are what the file lacks
        if depth > MOST_BLOCKS:
            raise ELLAError(f"{name} has {depth} blocks, where at most {MOST_BLOCKS} are expected; {GET_CONNECTOR}.")
        sizes |= {"depth": depth, "num_heads": read_heads(name, header.metadata, sizes["width"])}
    config = kind.config(**sizes)
    if "ella.format" in header.metadata:
        for size, number in asdict(config).items():
            stated = header.metadata.get(size, "no number" if size == "num_heads" else str(number))
            if stated != str(number):
                raise ELLAError(
                    f"{name} states {quoted(stated)} as {size} in its metadata, where {number} is expected by its "
                    f"tensors; correct the metadata or {GET_CONNECTOR}."
                )
    return config


def facts_of(header, config):
    """ConnectorFacts of a header; ELLAError where the file states something that can't be."""
    try:
        facts = read_facts(header.metadata)
    except ValueError as error:
        raise ELLAError(
            f"{file_name(header.path)} {error}, which docs/connector_format.md describes; correct its metadata or "
            f"{GET_CONNECTOR}."
        ) from error
    if facts.text_encoder is not None and facts.text_encoder.hidden_size != config.text_dim:
        raise ELLAError(
            f"{file_name(header.path)} states a language model of width {quoted(facts.text_encoder.hidden_size)}, and "
            f"its tensors read text states of width {config.text_dim}; correct its metadata or {GET_CONNECTOR}."
        )
    return facts


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


def expected_shapes(network, config):
    """The tensors of a connector of these sizes, name -> shape; a network of two blocks tells those of any depth."""
    depth = getattr(config, "depth", None)
    with torch.device("meta"):
        tensors = network(config if depth is None else replace(config, depth=2)).state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    return shapes if depth is None else BlockShapes(shapes, BLOCKS, depth)


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


def load_connector(path, operations=torch.nn):
    """The connector in the safetensors file at `path`, in eval mode, frozen, its weights as stored.

    The whole header is checked before a tensor is read. `operations` is the namespace of layer classes, see
    `layers.py`. What the file states of its training is the connector's `facts`.

    Raises ELLAError for a file that is missing, damaged, something else, of other names or shapes, or holds NaN.
    """
    header = read_header(path)
    found = check_connector(header)
    with torch.device("meta"):
        connector = found.network(found.config, operations)
    weights = load_file(header.path)
    for key, weight in weights.items():
        if not is_finite(weight):
            raise ELLAError(
                f"{file_name(header.path)} holds values that are not finite in {key}, so every picture would be "
                f"black; download it again or {GET_CONNECTOR}."
            )
    connector.load_state_dict(weights, strict=True, assign=True)
    connector.facts = found.facts
    return connector.requires_grad_(False).eval()


def save_connector(connector, path, **facts):
    """Writes a connector into a safetensors file at `path`, its weights as they are, so that `load_connector` reads it.

    `facts` say what it was trained with: `text_encoder` (TextEncoderFacts or a dict of its fields), `base` (sd15, sdxl
    or another word) and anything else that JSON can hold (`steps=280000`). Those that the connector already has stay
    unless they are given anew. Nothing is left half-written. Raises ELLAError for a text_encoder that is none of this
    connector's.
    """
    kind, config = kind_of_network(connector), connector.config
    metadata = {"ella.format": FORMAT, "ella.connector": kind.name}
    metadata |= {field.name: str(getattr(config, field.name)) for field in fields(config)}
    metadata |= join_facts(connector.facts, config, facts).metadata()
    weights = {key: weight.detach().contiguous() for key, weight in connector.state_dict().items()}
    path = os.fspath(path)
    save_file(weights, path + ".part", metadata=metadata)
    os.replace(path + ".part", path)


def join_facts(known, config, given):
    """ConnectorFacts of those that a connector has and those given to `save_connector`."""
    given = dict(given)
    encoder = given.pop("text_encoder", known.text_encoder)
    if isinstance(encoder, dict):
        try:
            encoder = text_encoder_facts(encoder)
        except ValueError as error:
            raise ELLAError(
                f"The text_encoder of a connector {error}; give what TextEncoderFacts describes."
            ) from error
    if encoder is not None and encoder.hidden_size != config.text_dim:
        raise ELLAError(
            f"The text_encoder has a hidden_size of {encoder.hidden_size}, and the connector reads text states of "
            f"width {config.text_dim}; give the language model that it was trained with."
        )
    return ConnectorFacts(encoder, given.pop("base", known.base), known.training | given)
