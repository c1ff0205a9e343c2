"""Grids of fixed prompts, drawn while a connector is trained, by the code of the nodes."""

from __future__ import annotations

import importlib

import torch
from PIL import Image

from ella_core.connectors.connector_file import save_connector
from ella_core.connectors.facts import TextEncoderFacts

from .host_base import host_module
from .lora import is_lora, merged

FOLDER = "samples"


class Grid:
    """Draws the same prompts with the same seed whenever it is called; a picture of each, side by side in one file.

    `text_states` are (1, T, text_dim) of each prompt and `empty_states` those of the empty one, by the text encoder of
    `facts`. `base` is a HostBase with a VAE; `size` is the side of a picture in pixels.
    """

    def __init__(self, base, text_states, empty_states, facts, size=512, steps=20, cfg=7.0, seed=1001):
        self.base, self.text_states, self.empty_states = base, text_states, empty_states
        self.facts = TextEncoderFacts(**facts)
        self.size, self.steps, self.cfg, self.seed = size, steps, cfg, seed

    def __call__(self, connector, step, run):
        """Writes samples/step-N.png into a run; returns {}."""
        folder = run.path / FOLDER
        folder.mkdir(exist_ok=True)
        file = folder / "connector.part"
        plain = merged(connector) if is_lora(connector) else connector
        save_connector(plain, file, text_encoder=self.facts)
        try:
            with torch.no_grad():
                pictures = [self.draw(file, states) for states in self.text_states]
        finally:
            file.unlink()
            host_module("comfy.model_management").unload_all_models()
            self.base.to(next(connector.parameters()).device)
        grid = torch.cat(pictures, dim=1)  # (size, prompts * size, 3)
        pixels = (grid.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
        Image.fromarray(pixels).save(folder / f"step-{step:09d}.png")
        return {}

    def draw(self, file, text_states):
        """One picture (size, size, 3) in 0..1: Load ELLA, Apply ELLA, KSampler, VAE Decode."""
        samples = host_module("comfy.sample")
        nodes = {name: importlib.import_module(f"ella_core.host.{name}") for name in ("apply", "connector_model")}
        ella = nodes["connector_model"].load_connector_model(file)
        model, positive, negative = nodes["apply"].apply_ella(
            self.base.patcher, ella, self.conditioning(text_states), self.conditioning(self.empty_states)
        )
        latent = torch.zeros(1, 4, self.size // 8, self.size // 8)
        noise = samples.prepare_noise(latent, self.seed)
        latent = samples.sample(
            model,
            noise,
            self.steps,
            self.cfg,
            "dpmpp_2m",
            "karras",
            positive,
            negative,
            latent,
            disable_pbar=True,
            seed=self.seed,
        )
        return self.base.vae.decode(latent)[0]

    def conditioning(self, text_states):
        """A CONDITIONING of text states, as ELLA Text Encode gives it."""
        mark = importlib.import_module("ella_core.host.conditioning").text_states_mark
        return [[text_states.float().cpu(), mark(self.facts)]]
