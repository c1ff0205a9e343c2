"""The world's autoencoder: the tiny autoencoder that the host takes as a checkpoint's VAE, with few channels.

Layers stand at the indices of the host's `taesd_encoder` and `taesd_decoder` (64 channels), so that widening its
weights by repetition is all that lies between the two.
"""

import torch
import torch.nn.functional as F
from torch import nn

LATENT_CHANNELS = 4


def _conv(inputs: int, outputs: int, **options) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class Clamp(nn.Module):
    """Keeps latents between -3 and 3, softly."""

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return torch.tanh(latents / 3) * 3


class Block(nn.Module):
    """Three convolutions beside the identity."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.conv(x) + x)


class TinyAutoencoder(nn.Module):
    """Pictures (B, 3, 8h, 8w) in 0..1 to latents (B, 4, h, w) of about deviation 1 and back."""

    def __init__(self, width: int):
        super().__init__()

        def half() -> list[nn.Module]:
            return [_conv(width, width, stride=2, bias=False), *(Block(width) for _ in range(3))]

        def double() -> list[nn.Module]:
            blocks = [Block(width) for _ in range(3)]
            return [*blocks, nn.Upsample(scale_factor=2), _conv(width, width, bias=False)]

        self.taesd_encoder = nn.Sequential(
            _conv(3, width), Block(width), *half(), *half(), *half(), _conv(width, LATENT_CHANNELS)
        )
        self.taesd_decoder = nn.Sequential(
            Clamp(),
            _conv(LATENT_CHANNELS, width),
            nn.ReLU(),
            *double(),
            *double(),
            *double(),
            Block(width),
            _conv(width, 3),
        )

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        """(B, 3, 8h, 8w) in 0..1 to (B, 4, h, w)."""
        return self.taesd_encoder(pictures)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(B, 4, h, w) to (B, 3, 8h, 8w), about 0..1."""
        return self.taesd_decoder(latents)
