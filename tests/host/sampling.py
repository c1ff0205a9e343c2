"""Runs of the host's samplers that record what the UNet attends to, and the same by brute force."""

import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP

PROMPT = "a red fox reading a newspaper next to a blue teapot, under a lamp with a green shade"


def record_context(model):
    """Clone of a MODEL and the list of its UNet evaluations, (timestep, "positive" or "negative", context)."""
    model = model.clone()
    seen = []

    def record(executor, x, timesteps, context, *args, **kwargs):
        options = args[2] if len(args) > 2 else kwargs["transformer_options"]
        kinds = options["cond_or_uncond"]
        for kind, step, tokens in zip(kinds, timesteps.chunk(len(kinds)), context.chunk(len(kinds))):
            seen.append((float(step[0]), ("positive", "negative")[kind], tokens.detach().clone()))
        return executor(x, timesteps, context, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "record", record)
    return model, seen


def brute_force(model, positive, negative, connector):
    """Clone of an unpatched MODEL whose UNet calls the connector anew in every evaluation, for text states (1, T, D)."""
    model = model.clone()
    states = (positive, negative)

    def call_connector(executor, x, timesteps, context, *args, **kwargs):
        options = args[2] if len(args) > 2 else kwargs["transformer_options"]
        kinds = options["cond_or_uncond"]
        tokens = []
        for kind, steps in zip(kinds, timesteps.chunk(len(kinds))):
            text = states[kind].to(connector.connector.latents)
            tokens.append(connector(text.expand(len(steps), -1, -1), steps))
        return executor(x, timesteps, torch.cat(tokens).to(context), *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "brute_force", call_connector)
    return model


def sigmas_of(model, scheduler, steps, denoise=1.0, sampler="euler"):
    return comfy.samplers.KSampler(
        model, steps, model.load_device, sampler=sampler, scheduler=scheduler, denoise=denoise
    ).sigmas


def latent(size=8, batch=1, channels=4, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return {"samples": torch.randn(batch, channels, size, size, generator=generator) * 0.5}


def ksample(host, model, positive, negative, *, sampler="euler", scheduler="normal", steps=4, cfg=7.0, denoise=1.0, seed=3, image=None):
    """Latent of the host's own KSampler node."""
    return host.run(
        "KSampler",
        model=model,
        seed=seed,
        steps=steps,
        cfg=cfg,
        sampler_name=sampler,
        scheduler=scheduler,
        positive=positive,
        negative=negative,
        latent_image=image or latent(),
        denoise=denoise,
    )[0]["samples"]


def relative(found, expected):
    """Largest deviation against the expected values' largest."""
    return float((found.double() - expected.double()).abs().max() / expected.double().abs().max())
