"""Runs of the host's samplers that record what the UNet attends to, and the same by brute force."""

import torch
from comfy.patcher_extension import WrappersMP

PROMPT = "a red fox reading a newspaper next to a blue teapot, under a lamp with a green shade"
QUERIES = 64

# float32 connector against float64: rounding through two blocks (1.3e-6 measured).
CONTEXT = 2e-5
# The same rounding carried through a whole run of a random UNet.
LATENT = 1e-4


def record_context(model):
    """Clone of a MODEL and the list of its UNet evaluations, (timestep, context of one condition)."""
    model = model.clone()
    seen = []

    def record(executor, x, timesteps, context, *args, **kwargs):
        options = args[2] if len(args) > 2 else kwargs["transformer_options"]
        count = len(options["cond_or_uncond"])
        for steps, tokens in zip(timesteps.chunk(count), context.chunk(count)):
            seen.append((float(steps[0]), tokens.detach().clone()))
        return executor(x, timesteps, context, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "record", record)
    return model, seen


def assert_exact(seen, connector, *prompts):
    """Every recorded context begins with the connector's tokens of one of the prompts at its own timestep."""
    assert seen
    for timestep, context in seen:
        expected = [connector(prompt.double(), torch.tensor([timestep])) for prompt in prompts]
        assert min(relative_at_start(context, tokens) for tokens in expected) < CONTEXT


def relative_at_start(context, tokens):
    """As `relative`, of the first tokens of a context, or infinite for a context that is too short."""
    count = tokens.shape[1]
    return relative(context[:, :count], tokens) if context.shape[1] >= count else float("inf")


def tagged(tag, tokens=QUERIES):
    """CONDITIONING that `brute_force` replaces by the prompt of that tag; further tokens can be appended to it."""
    return [[torch.full((1, tokens, 768), float(tag)), {"pooled_output": torch.zeros(1, 768)}]]


def brute_force(model, connector, *prompts):
    """Clone of an unpatched MODEL whose UNet calls the connector anew in every evaluation.

    `prompts` are text states (1, T, D); a condition whose first tokens are filled with i + 1 gets those of prompt i,
    repeated where the host repeated the filled ones to batch conditions of different lengths.
    """
    model = model.clone()

    def call_connector(executor, x, timesteps, context, *args, **kwargs):
        rows = []
        for step, row in zip(timesteps, context):
            tag = row[0, 0].item()
            if tag in range(1, len(prompts) + 1):
                tokens = connector(prompts[int(tag) - 1].double(), step[None].cpu()).to(row)[0]
                filled = int((row == tag).all(dim=-1).sum())
                row = torch.cat([tokens.repeat(filled // len(tokens), 1), row[filled:]])
            rows.append(row)
        return executor(x, timesteps, torch.stack(rows), *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "brute_force", call_connector)
    return model


def latent(size=8, batch=1, channels=4, seed=7):
    generator = torch.Generator().manual_seed(seed)
    return {"samples": torch.randn(batch, channels, size, size, generator=generator) * 0.5}


def ksample(
    host,
    model,
    positive,
    negative,
    *,
    sampler="euler",
    scheduler="normal",
    steps=4,
    cfg=7.0,
    denoise=1.0,
    seed=3,
    image=None,
):
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
