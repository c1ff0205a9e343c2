"""Small pictures that tests draw, small models for them, and the command that caches them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import random_models
import torch
from PIL import Image, ImageDraw
from tiny_language_models import make_language_model

REPO = Path(__file__).resolve().parents[2]
COLOURS = ("red", "green", "blue", "yellow", "purple", "orange")


def draw(size, number):
    """A picture of (width, height) with a shape of a colour of its own on a slope of grey."""
    image = Image.linear_gradient("L").resize(size).convert("RGB")
    box = (size[0] // 4, size[1] // 4, size[0] // 4 + 10 + number, size[1] // 2 + number)
    ImageDraw.Draw(image).ellipse(box, fill=COLOURS[number % len(COLOURS)])
    return image


def caption(number, line):
    """A text of words that the tiny language models know, another one for each picture and line."""
    things = ("red fox", "blue teapot", "large yellow square")
    return f"a {things[line]} above {'green ' * (number + 1)}triangles"


def make_folder(folder, count=6, size=(64, 64), captions=1):
    """Pictures 00.png and so on, of one size, each with its captions in a .txt."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        draw(size, number).save(folder / f"{number:02}.png")
        lines = [caption(number, line) for line in range(captions)]
        (folder / f"{number:02}.txt").write_text("\n".join(lines))
    return folder


def make_checkpoint(path, seed=1, unet=random_models.QUICK_UNET):
    """A checkpoint that the host takes for Stable Diffusion 1.5, with a small UNet and the tiny autoencoder as VAE.

    With SDXL_UNET it takes it for SDXL.
    """
    import comfy.cli_args

    comfy.cli_args.args.cpu = not torch.cuda.is_available()
    from comfy.taesd.taesd import TAESD

    with torch.device("meta"):
        vae = TAESD(latent_channels=4)
    weights = random_models.unet_weights(1, torch.float16, "model.diffusion_model.", **unet)
    vae_weights = random_models.random_weights(vae, seed + 1, "first_stage_model.", torch.float32)
    # The autoencoder's own two numbers are no random ones.
    vae_weights["first_stage_model.vae_scale"] = torch.tensor(1.0)
    vae_weights["first_stage_model.vae_shift"] = torch.tensor(0.0)
    random_models.save(weights | vae_weights, str(path))
    return path


def make_text_encoder(folder, family="bert"):
    return make_language_model(folder, family)


def cache_command(checkpoint, text_encoder, data, out, *more):
    """The command line of `python -m training cache`."""
    options = {"--checkpoint": checkpoint, "--text-encoder": text_encoder, "--data": data, "--out": out}
    options |= {"--resolution": 64, "--bucket-step": 8, "--max-length": 16, "--shard": 4, "--device": "cpu"}
    flat = [str(part) for pair in options.items() for part in pair]
    return [sys.executable, "-m", "training", "cache", *flat, *map(str, more)]


def cache(*arguments, **options):
    """Runs it to its end: the finished process."""
    return subprocess.run(
        cache_command(*arguments), cwd=REPO, capture_output=True, text=True, timeout=300, env=environment(), **options
    )


def cache_here(*arguments):
    """The same in this process, which saves its start: the exit status."""
    from training.__main__ import main

    return main(cache_command(*arguments)[3:])


def environment():
    return os.environ | {"OMP_NUM_THREADS": "1"}


def as_json(state):
    """A position as a run keeps it."""
    return json.loads(json.dumps(state))
