"""The kinds of connectors: a row each, how its files are recognised, where its sizes are read."""

from __future__ import annotations

from dataclasses import dataclass, fields

from ..errors import ELLAError
from .adaln_zero import AdaLNZeroConnector
from .connector import Connector
from .layers import POOL_HEAD_DIM
from .mlp import MLPConfig, MLPConnector
from .resampler import ResamplerConfig, ResamplerConnector
from .tsc import ConnectorConfig, TimestepAwareSemanticConnector

BLOCKS = "connector.perceiver_blocks."
# Where each size is read, as (tensor, dimension); depth is the number of blocks, num_heads leaves no trace in tensors.
OF_MLP = {"width": ("connector.c_fc.weight", 0), "text_dim": ("connector.c_fc.weight", 1)}
OF_QUERIES = {
    "width": ("connector.latents", 1),
    "num_queries": ("connector.latents", 0),
    "text_dim": ("connector.proj_in.weight", 1),
}
OF_TIME = {
    "time_channels": ("time_embedding.linear_1.weight", 1),
    "time_dim": ("time_embedding.linear_1.weight", 0),
}
OF_POOL = {"pooled_dim": ("pool.c_proj.weight", 0)}


@dataclass(frozen=True)
class Kind:
    """A kind of connector; `own` is how a tensor's name begins that no kind of the rows below has."""

    name: str
    network: type[Connector]
    config: type
    own: str
    sizes: dict[str, tuple[str, int]]

    def has(self, size):
        return size in {field.name for field in fields(self.config)}


KINDS = (
    Kind("mlp", MLPConnector, MLPConfig, "connector.c_fc.", OF_MLP),
    Kind("resampler", ResamplerConnector, ResamplerConfig, BLOCKS + "0.ln_1.weight", OF_QUERIES),
    Kind("adaln-zero", AdaLNZeroConnector, ConnectorConfig, BLOCKS + "0.gates.", OF_QUERIES | OF_TIME),
    Kind("tsc", TimestepAwareSemanticConnector, ConnectorConfig, BLOCKS, OF_QUERIES | OF_TIME),
)
NAMES = ", ".join(kind.name for kind in KINDS)


def kind_named(name):
    """The row of that name, or None."""
    return next((kind for kind in KINDS if kind.name == name), None)


def kind_of_tensors(names):
    """The kind of a file with tensors of these names, or None for a file that is no connector."""
    return next((kind for kind in KINDS if any(name.startswith(kind.own) for name in names)), None)


def kind_of_network(connector):
    return next(kind for kind in KINDS if type(connector) is kind.network)


def new_connector(kind, *, dtype=None, device=None, **sizes):
    """A new connector to train, initialised as the paper's are: AdaLN and gates at zero, queries small.

    `kind` is "mlp", "resampler", "adaln-zero" or "tsc", `sizes` are fields of its config (`width`, `depth`,
    `num_heads`, `num_queries`, `text_dim`, `time_channels`, `time_dim`, `pooled_dim`), by default those of the paper's
    Stable Diffusion 1.5 model. Raises ELLAError for a kind or sizes that do not exist or do not fit.
    """
    row = kind_named(kind)
    if row is None:
        raise ELLAError(f"{kind} is no kind of connector; choose one of {NAMES}.")
    unknown = [size for size in sizes if not row.has(size)]
    if unknown:
        known = ", ".join(field.name for field in fields(row.config))
        raise ELLAError(f"A connector of kind {kind} has no size {unknown[0]}; its sizes are {known}.")
    config = row.config(**sizes)
    check_sizes(config)
    connector = row.network(config, dtype=dtype, device=device)
    for module in connector.modules():
        if hasattr(module, "initialise"):
            module.initialise()
    return connector


def check_sizes(config):
    """Raises ELLAError for sizes that no network can have together."""
    for field in fields(config):
        size = getattr(config, field.name)
        least = 0 if field.name == "pooled_dim" else 1
        if not isinstance(size, int) or size < least:
            raise ELLAError(f"{field.name} of a connector is {size}; it must be a whole number of at least {least}.")
    width = config.width
    if width % getattr(config, "num_heads", 1):
        raise ELLAError(
            f"{config.num_heads} attention heads do not divide the width {width}; choose a divisor of it as num_heads."
        )
    if getattr(config, "pooled_dim", 0) and width % POOL_HEAD_DIM:
        raise ELLAError(
            f"A pool has heads of {POOL_HEAD_DIM} numbers, which do not divide the width {width}; choose a multiple of "
            f"{POOL_HEAD_DIM} as width."
        )
    if getattr(config, "time_channels", 2) % 2:
        raise ELLAError(f"time_channels is {config.time_channels}; a sinusoid has an even number of channels.")


def describe(kind, config):
    """What a connector of that kind and these sizes reads and makes, as part of a sentence."""
    count = getattr(config, "num_queries", None)
    makes = f"{count} tokens" if count else "a token for each one that the prompt has, all"
    pooled = f" and a pooled vector of {config.pooled_dim}" if getattr(config, "pooled_dim", 0) else ""
    blocks = f"; {config.depth} blocks, {config.num_heads} heads" if count else ""
    return (
        f"{kind}, reads text states of width {config.text_dim}, makes {makes} of width {config.width}{pooled}{blocks}"
    )
