"""The AdaLN-Zero connector of ELLA's ablation (arXiv 2403.05135, table 6).

The TSC with a gate on each of a block's two residual branches, from the timestep and zero at first, as in DiT
(arXiv 2212.09748, section 3.2).
"""

import torch
from torch import nn

from .tsc import ConnectorBlock, TimestepAwareSemanticConnector


class GatedBlock(ConnectorBlock):
    """The TSC's block whose attention and MLP are each scaled by the timestep before they are added."""

    def __init__(self, width, num_heads, time_dim, operations, **factory):
        super().__init__(width, num_heads, time_dim, operations, **factory)
        self.gates = operations.Linear(time_dim, 2 * width, **factory)

    def initialise(self):
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)

    def modulations(self, time):
        return *super().modulations(time), self.gates(time)[:, None].chunk(2, dim=-1)

    def forward(self, queries, normed_text, modulations):
        of_queries, of_text, of_mlp, (attention_gate, mlp_gate) = modulations
        attended = self.attend(queries, normed_text, of_queries, of_text)  # (B, Q, W)
        queries = torch.addcmul(queries, attention_gate, attended)  # (B, Q, W)
        return torch.addcmul(queries, mlp_gate, self.mlp(self.ln_ff(queries, of_mlp)))  # (B, Q, W)


class AdaLNZeroConnector(TimestepAwareSemanticConnector):
    """The TSC with gated blocks, keys `connector.perceiver_blocks.N.gates.*`: the attention's gate, then the MLP's."""

    block = GatedBlock
