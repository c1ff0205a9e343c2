"""The MLP connector of ELLA's ablation (arXiv 2403.05135, table 6): two linear layers on each text token, as in LLaVA.

It makes as many tokens as the text has and reads no timestep.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import nn

from .connector import Connector


@dataclass(frozen=True)
class MLPConfig:
    """Sizes of an MLP connector. The defaults are the paper's."""

    width: int = 768
    text_dim: int = 2048


class TextMLP(nn.Module):
    def __init__(self, config, operations, **factory):
        super().__init__()
        self.c_fc = operations.Linear(config.text_dim, config.width, **factory)
        self.c_proj = operations.Linear(config.width, config.width, **factory)

    def forward(self, text_states):
        return self.c_proj(F.gelu(self.c_fc(text_states)))  # (B, T, W)


class MLPConnector(Connector):
    """Text states (B, T, text_dim) -> tokens (B, T, width), each of its own text state."""

    reads_time = False

    def __init__(self, config=MLPConfig(), operations=nn, **factory):
        super().__init__(config, operations)
        self.connector = TextMLP(config, operations, **factory)

    def tokens(self, text_states, timed):
        return self.connector(text_states)
