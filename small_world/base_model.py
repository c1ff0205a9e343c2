"""Trains the frozen base of the small world: an autoencoder, then a UNet with a weak text encoder of its own.

    python -m small_world base --out RUN

Each part is a file of RUN and is not trained twice; the UNet goes on from its last save. Everything is drawn from
seeds: scene number i is `random_scene(Random(i))`, training takes the numbers from FIRST_SCENE on.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from training.base import stable_diffusion_alphas_cumprod
from training.loss import add_noise

from .autoencoder import TinyAutoencoder
from .captions import short_caption
from .device import device_of
from .narrow_unet import narrow_unet
from .scenes import Scene, draw, random_scene
from .text_encoder import WeakTextEncoder, rows_of

FIRST_SCENE = 10_000_000  # the study's scenes have smaller numbers
AUTOENCODER_CHANNELS = 16
STATE = "base_state.safetensors"  # of RUN, all that the training of the base goes on from
EMA = 0.999
DROPOUT = 0.1  # of captions, for classifier-free guidance
# (share of the time, most shapes of a scene until then). Single shapes teach what a word of place means in minutes;
# 350,000 scenes of one to six shapes did not.
CURRICULUM = ((0.12, 1), (0.24, 2), (0.4, 3), (1.0, 6))


class Base(nn.Module):
    """UNet and text encoder, trained together."""

    def __init__(self):
        super().__init__()
        self.unet = narrow_unet()
        self.text_encoder = WeakTextEncoder()

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        # (B, 4, 8, 8), (B,), (B, 77) -> (B, 4, 8, 8)
        return self.unet(noisy, timesteps, self.text_encoder(rows))


def training_scenes(count: int) -> list[Scene]:
    """The first `count` scenes of the training."""
    return [random_scene(Random(FIRST_SCENE + number)) for number in range(count)]


def pictures_of(scenes: Sequence[Scene]) -> torch.Tensor:
    """Drawn scenes, (count, 3, 64, 64) uint8."""
    drawn = np.stack([np.asarray(draw(scene)) for scene in scenes])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2)


def train_autoencoder(out: Path, seconds: float, device: torch.device, seed: int = 0) -> TinyAutoencoder:
    """The autoencoder, trained for so long, or read from `out`; in the last 40 % of the time the decoder alone."""
    file = out / "autoencoder.safetensors"
    if file.exists():
        return load_autoencoder(out).to(device)
    torch.manual_seed(seed)
    model = TinyAutoencoder(AUTOENCODER_CHANNELS).to(device, memory_format=torch.channels_last)
    pictures = pictures_of(training_scenes(20_000))
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    start, step = time.monotonic(), 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1.5e-3 * min(1, (step + 1) / 100) * (0.02 + 0.49 * (1 + np.cos(np.pi * done)))
        x = pictures[torch.randint(len(pictures), (16,))].to(device) / 255
        x = x.contiguous(memory_format=torch.channels_last)
        model.taesd_encoder.requires_grad_(done < 0.6)
        latents = model.encode(x)
        # A decoder that bears some noise makes latents that a small UNet can reach; in the end it bears more of it.
        strength = 0.05 if done < 0.6 else 0.1 * torch.rand(len(x), 1, 1, 1, device=device)
        y = model.decode(latents + strength * torch.randn_like(latents))
        weight = 1 + 6 * (x.amin(1, keepdim=True) < 0.95)
        error = (weight * ((y - x).abs() + 4 * (y - x).square())).mean()
        spread = latents.mean((0, 2, 3)).square().mean() + (latents.std((0, 2, 3)) - 1).square().mean()
        loss = error + 0.02 * spread
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 500 == 0:
            print(f"autoencoder step {step} error {error.item():.4f}", flush=True)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, file)
    return model


@torch.inference_mode()
def latents_of(autoencoder: TinyAutoencoder, scenes: Sequence[Scene]) -> torch.Tensor:
    """(count, 4, 8, 8) latents of drawn scenes."""
    parts = [scenes[first : first + 512] for first in range(0, len(scenes), 512)]
    device = device_of(autoencoder)
    return torch.cat([autoencoder.encode(pictures_of(some).to(device) / 255).cpu() for some in parts])


def scene_latents(out: Path, autoencoder: TinyAutoencoder, count: int) -> torch.Tensor:
    """The latents of the training's scenes, kept in `out`."""
    file = out / "latents.safetensors"
    if not file.exists():
        save_file({"latents": latents_of(autoencoder, training_scenes(count)).half().contiguous()}, file)
    return load_file(file)["latents"].float()


def train_base(
    out: Path, latents: torch.Tensor, seconds: float, device: torch.device, batch: int = 64, seed: int = 0
) -> Base:
    """UNet and text encoder on short captions, by time; saves their moving average every two minutes."""
    torch.manual_seed(seed)
    model, average = Base().to(device), Base().to(device)
    scenes = training_scenes(len(latents))
    captions = [[short_caption(scene, Random(i * 2 + k)).text for i, scene in enumerate(scenes)] for k in range(2)]
    rows = torch.stack([rows_of(texts) for texts in captions]).short()
    empty = rows_of([""]).short()
    shapes = torch.tensor([len(scene.shapes) for scene in scenes])
    with_at_most = {most: (shapes <= most).nonzero().flatten() for _, most in CURRICULUM}
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
    step, spent = 0, 0.0
    if (out / STATE).exists():
        both = nn.ModuleDict({"model": model, "average": average})
        both.load_state_dict(load_file(out / STATE))
        with safe_open(out / STATE, "pt") as opened:
            progress = json.loads(opened.metadata()["progress"])
        step, spent = progress["step"], progress["seconds"]
        torch.manual_seed(seed + step)
    else:
        average.load_state_dict(model.state_dict())
    alphas = stable_diffusion_alphas_cumprod()
    start, saved_at, mean = time.monotonic() - spent, time.monotonic(), 0.0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 300) * (0.03 + 0.97 * min(1, 2.5 * (1 - done)))
        some = with_at_most[next(most for until, most in CURRICULUM if done < until)]
        which = some[torch.randint(len(some), (batch,))]
        x = latents[which].to(device)
        text = rows[torch.randint(2, (batch,)), which]
        text[torch.rand(batch) < DROPOUT] = empty
        timesteps = torch.randint(1000, (batch,))
        noise = torch.randn_like(x)
        snr = (alphas / (1 - alphas))[timesteps].float()
        # Between min-SNR's weights and none of a signal's strength: where shapes lie is decided at high noise.
        weight = (snr.clamp(max=5).sqrt() / snr).to(device)
        noisy, target = add_noise(x, noise, alphas, timesteps, "eps")
        found = model(noisy, timesteps.to(device), text.to(device, torch.long))
        error = F.mse_loss(found, target, reduction="none").mean((1, 2, 3))
        loss = (weight * error).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(EMA, 1 - 1 / (step / 10 + 1))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)
        mean += (loss.item() - mean) * (1 if step == 1 else 0.01)
        if step % 200 == 0:
            print(
                f"base step {step} loss {mean:.4f} {step * batch / (time.monotonic() - start):.0f} pictures/s",
                flush=True,
            )
        is_last = time.monotonic() - start >= seconds
        if is_last or time.monotonic() - saved_at > 120:
            _save_base(out, model, average, step, time.monotonic() - start)
            saved_at = time.monotonic()
    return average


def _save_base(out: Path, model: Base, average: Base, step: int, seconds: float) -> None:
    """The moving average as base.safetensors and what a resumed training needs."""
    both = nn.ModuleDict({"model": model, "average": average})
    progress = {"progress": json.dumps({"step": step, "seconds": seconds})}
    for file, module, metadata in ((STATE, both, progress), ("base.safetensors", average, {})):
        part = out / f"{file}.part"
        save_file({k: v.contiguous() for k, v in module.state_dict().items()}, part, metadata)
        part.replace(out / file)


def load_autoencoder(out: Path) -> TinyAutoencoder:
    """The trained autoencoder."""
    model = TinyAutoencoder(AUTOENCODER_CHANNELS)
    model.load_state_dict(load_file(out / "autoencoder.safetensors"))
    return model.eval().requires_grad_(False)


def load_base(out: Path) -> Base:
    """The trained base."""
    base = Base()
    base.load_state_dict(load_file(out / "base.safetensors"))
    return base.eval().requires_grad_(False)


def picture(decoded: torch.Tensor) -> Image.Image:
    """(3, H, W) in 0..1 as a picture."""
    return Image.fromarray((decoded.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy())
