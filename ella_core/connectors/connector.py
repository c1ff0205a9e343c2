"""What every connector is: text states and timesteps -> the tokens that a diffusion UNet attends to.

Shapes, here and in each kind: B batch (prompts or timesteps), T text states, Q queries, W width.
"""

from torch import nn

from .facts import ConnectorFacts


class Connector(nn.Module):
    """The interface of all kinds of connectors, a row of `kinds.py` each.

    `config` holds its sizes, frozen. `reads_time` is False for one that gives the same tokens at every timestep.
    `pool` turns its tokens into the pooled vector that SDXL wants beside them, None where it has none. `facts` says
    what it was trained with, as far as its file does. `operations` and `factory` are those of `layers.py`.
    """

    reads_time = True

    def __init__(self, config, operations=nn):
        super().__init__()
        self.config = config
        self.pool = None
        self.facts = ConnectorFacts()
        self.layers_cast_weights = operations is not nn

    def read_time(self, timesteps, dtype):
        """Timesteps (B,) in steps of 0..999 -> what of the network depends on them alone, for any number of prompts."""
        return None

    def tokens(self, text_states, timed):
        """Text states (B, T, text_dim) and what `read_time` gave of B timesteps -> tokens (B, Q, width)."""
        raise NotImplementedError

    def pooled(self, tokens):
        """Tokens (B, Q, width) -> pooled vectors (B, pooled_dim), for a connector that has a `pool`."""
        return self.pool(tokens)

    def attentions(self):
        """The ConnectorAttention of each block, in order; none where text states are not attended to."""
        return []

    def forward(self, text_states, timesteps):
        """Text states (B, T, text_dim) and timesteps (B,) in steps of 0..999 -> tokens (B, Q, width).

        Each timestep of a batch is on its own. One of the two may have a batch of 1: one prompt at many timesteps
        reads its text once. Computes in the dtype of the text states where the layers cast their weights, in that of
        the weights otherwise.
        """
        if not self.layers_cast_weights:
            text_states = text_states.to(next(self.parameters()).dtype)
        tokens = self.tokens(text_states, self.read_time(timesteps, text_states.dtype))
        return tokens.expand(max(len(tokens), len(timesteps)), -1, -1)
