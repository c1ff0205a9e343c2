"""A small frozen UNet of another making, a source of random pictures, and a small connector."""

import torch
from torch import nn

from ella_core.connectors.kinds import new_connector
from training.base import stable_diffusion_alphas_cumprod
from training.batch import Batch

TEXT_DIM, WIDTH = 12, 16
FACTS = {
    "architecture": "t5",
    "hidden_size": TEXT_DIM,
    "dtype": "float16",
    "layer": -1,
    "max_length": 6,
    "padding": True,
    "attention_mask": True,
}


class AttendingUNet(nn.Module):
    """Latents and timestep attend once to the context: the least that a UNet is to a connector."""

    def __init__(self):
        super().__init__()
        self.into, self.out = nn.Conv2d(4, WIDTH, 3, padding=1), nn.Conv2d(WIDTH, 4, 3, padding=1)
        self.time = nn.Embedding(1000, WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)

    def forward(self, x, timesteps, context):
        h = self.into(x) + self.time(timesteps)[:, :, None, None]
        flat = h.flatten(2).transpose(1, 2)
        flat = flat + self.attention(flat, context, context, need_weights=False)[0]
        return self.out(flat.transpose(1, 2).reshape(h.shape))


class SmallBase:
    name, context_width = "small", WIDTH

    def __init__(self, prediction="eps", seed=3):
        self.prediction = prediction
        self.alphas_cumprod = stable_diffusion_alphas_cumprod()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.module = AttendingUNet().requires_grad_(False)

    def predict(self, noisy_latents, timesteps, context, pooled=None, sizes=None):
        return self.module(noisy_latents, timesteps, context)


class RandomPictures:
    """Pictures whose content is what their text states say, for as many processes as there are."""

    facts = FACTS

    def __init__(self, seed=5, count=64, flexible=False):
        generator = torch.Generator().manual_seed(seed)
        self.states = torch.randn(count, 6, TEXT_DIM, generator=generator)
        self.latents = self.states.mean(dim=1)[:, :4, None, None].repeat(1, 1, 4, 4) * 2
        self.latents = self.latents + 0.1 * torch.randn(self.latents.shape, generator=generator)
        self.empty_states = torch.zeros(1, 1 if flexible else 6, TEXT_DIM)
        self.flexible = flexible
        self.taken = 0  # pictures, by all processes

    def batches(self, batch_size, rank=0, world_size=1):
        while True:
            first = self.taken + rank * batch_size
            rows = [(first + row) % len(self.latents) for row in range(batch_size)]
            self.taken += world_size * batch_size
            states = self.states[rows]
            if self.flexible:
                states = [one[None, : 2 + row % 3] for row, one in zip(rows, states)]
            yield Batch(self.latents[rows], states)

    def state_dict(self):
        return {"taken": self.taken}

    def load_state_dict(self, state):
        self.taken = state["taken"]


def small_connector(kind="tsc", seed=7, **sizes):
    sizes = {"width": WIDTH, "text_dim": TEXT_DIM} | sizes
    if kind != "mlp":
        sizes = {"depth": 2, "num_heads": 2, "num_queries": 5} | sizes
    if kind in ("tsc", "adaln-zero"):
        sizes = {"time_channels": 8, "time_dim": 12} | sizes
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return new_connector(kind, **sizes)
