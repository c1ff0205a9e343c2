"""Custom samplers, split and partial runs, and the sampling types: the timestep rule of ella_core/host/timesteps.py."""

import comfy.model_sampling
import pytest
import torch
from sampling import LATENT, QUERIES, assert_exact, ksample, latent, record_context, relative, tagged


@pytest.fixture(scope="module")
def oracle_prompts(text_states):
    return text_states[0][0][0], text_states[1][0][0]


def guider(host, model, positive, negative):
    return host.run("CFGGuider", model=model, positive=positive, negative=negative, cfg=6.0)[0]


def sample(host, guide, sigmas, image, noise=True, sampler="euler"):
    noise = host.run("RandomNoise", noise_seed=5)[0] if noise else host.run("DisableNoise")[0]
    sampler = host.run("KSamplerSelect", sampler_name=sampler)[0]
    return host.run(
        "SamplerCustomAdvanced", noise=noise, guider=guide, sampler=sampler, sigmas=sigmas, latent_image=image
    )[0]


def align_your_steps(host, model):
    return host.run("AlignYourStepsScheduler", model_type="SD1", steps=10, denoise=1.0)[0]


def karras(host, model):
    return host.run("BasicScheduler", model=model, scheduler="karras", steps=6, denoise=1.0)[0]


@pytest.mark.parametrize("schedule", [align_your_steps, karras])
@pytest.mark.parametrize("split", ["whole", "SplitSigmas", "SplitSigmasDenoise"])
def test_split_sigmas(host, applied, forced, oracle, oracle_prompts, schedule, split):
    """The parts of a run, each with its own patch state, equal the whole run."""
    recorded, seen = record_context(applied[0])
    sigmas = schedule(host, recorded)
    expected = sample(host, guider(host, forced, tagged(1), tagged(2)), sigmas, latent())["samples"]
    guide = guider(host, recorded, *applied[1:])
    if split == "whole":
        found = sample(host, guide, sigmas, latent())
    else:
        how = {"step": 3} if split == "SplitSigmas" else {"denoise": 0.5}
        high, low = host.run(split, sigmas=sigmas, **how)
        found = sample(host, guide, low, sample(host, guide, high, latent()), noise=False)
    assert_exact(seen, oracle, *oracle_prompts)
    assert relative(found["samples"], expected) < LATENT


def advanced(host, model, positive, negative, image, start, end, noise):
    return host.run(
        "KSamplerAdvanced",
        model=model,
        add_noise="enable" if noise else "disable",
        noise_seed=5,
        steps=10,
        cfg=6.0,
        sampler_name="euler",
        scheduler="karras",
        positive=positive,
        negative=negative,
        latent_image=image,
        start_at_step=start,
        end_at_step=end,
        return_with_leftover_noise="enable" if end < 10 else "disable",
    )[0]


def test_ksampler_advanced_with_leftover_noise(host, applied, forced):
    whole = advanced(host, *applied, latent(), 0, 10, True)["samples"]
    first = advanced(host, *applied, latent(), 0, 6, True)
    second = advanced(host, *applied, first, 6, 10, False)["samples"]
    expected = advanced(host, forced, tagged(1), tagged(2), latent(), 0, 10, True)["samples"]
    assert relative(whole, expected) < LATENT
    assert relative(second, expected) < LATENT


@pytest.mark.parametrize(
    "sampling, zsnr",
    [("eps", False), ("v_prediction", False), ("v_prediction", True), ("lcm", False), ("x0", False)],
)
def test_discrete_types_state_their_own_timestep(host, applied, forced, oracle, oracle_prompts, sampling, zsnr):
    def patch(a_model):
        return host.run("ModelSamplingDiscrete", model=a_model, sampling=sampling, zsnr=zsnr)[0]

    recorded, seen = record_context(patch(applied[0]))
    found = ksample(
        host, recorded, *applied[1:], scheduler="sgm_uniform", sampler="lcm" if sampling == "lcm" else "euler"
    )
    assert_exact(seen, oracle, *oracle_prompts)
    expected = ksample(
        host,
        patch(forced),
        tagged(1),
        tagged(2),
        scheduler="sgm_uniform",
        sampler="lcm" if sampling == "lcm" else "euler",
    )
    assert relative(found, expected) < LATENT


def record_sigmas(model):
    """Clone of a MODEL and the list of its evaluations' sigmas and contexts; APPLY_MODEL is told the sigma."""
    from comfy.patcher_extension import WrappersMP

    model = model.clone()
    seen = []

    def record(executor, x, t, c_concat=None, c_crossattn=None, *args, **kwargs):
        seen.extend(zip(t.tolist(), c_crossattn.detach().clone().split(1)))
        return executor(x, t, c_concat, c_crossattn, *args, **kwargs)

    model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "record", record)
    return model, seen


def nearest_step(sigma):
    """The step of Stable Diffusion's schedule (linear betas in their square roots) whose sigma is nearest in log."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, dim=0)
    sigmas = ((1 - alphas) / alphas).sqrt()
    return float((sigmas.log() - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())


@pytest.mark.parametrize(
    "node_id, inputs",
    [
        ("ModelSamplingContinuousEDM", {"sampling": "v_prediction", "sigma_max": 120.0, "sigma_min": 0.002}),
        ("ModelSamplingContinuousEDM", {"sampling": "edm_playground_v2.5", "sigma_max": 80.0, "sigma_min": 0.002}),
        ("ModelSamplingContinuousEDM", {"sampling": "eps", "sigma_max": 14.6, "sigma_min": 0.03}),
        ("ModelSamplingContinuousV", {"sampling": "v_prediction", "sigma_max": 500.0, "sigma_min": 0.03}),
    ],
)
def test_continuous_types_take_the_nearest_step(host, applied, oracle, oracle_prompts, node_id, inputs):
    if node_id not in host.node_classes:
        pytest.skip(f"this host has no {node_id}")
    patched = host.run(node_id, model=applied[0], **inputs)[0]
    recorded, seen = record_sigmas(patched)
    assert ksample(host, recorded, *applied[1:], scheduler="karras", steps=6).isfinite().all()
    steps = [(nearest_step(sigma), context) for sigma, context in seen]
    assert len({step for step, _ in steps}) > 3
    assert_exact(steps, oracle, *oracle_prompts)


def test_discrete_edm_is_continuous_in_time(host):
    sigmas = torch.tensor([0.05, 1.0, 10.0])
    found = host.core("host.timesteps").timesteps_of(comfy.model_sampling.ModelSamplingDiscreteEDM(), sigmas)
    assert found == [nearest_step(sigma) for sigma in sigmas.tolist()]


def test_flow_time_is_cut_to_the_last_step(host):
    flow = comfy.model_sampling.ModelSamplingDiscreteFlow()
    assert host.core("host.timesteps").timesteps_of(flow, torch.tensor([1.0, 0.5, 0.0])) == [999, 500.0, 0.0]


def test_noise_levels_that_differ_within_a_batch(host, applied, oracle, oracle_prompts):
    """A sampler may give each image its own sigma; each then gets the tokens of its own timestep."""
    import comfy.samplers

    recorded, seen = record_context(applied[0])
    sigmas = recorded.get_model_object("model_sampling").sigmas[torch.tensor([900, 400, 20])]

    def one_evaluation(model, x, sigmas, extra_args=None, **kwargs):
        return model(x, per_image, **extra_args)

    per_image = sigmas.to(recorded.load_device)
    sampler = comfy.samplers.KSAMPLER(one_evaluation)
    guide = guider(host, recorded, *applied[1:])
    guide.sample(torch.zeros(3, 4, 8, 8), torch.zeros(3, 4, 8, 8), sampler, sigmas)
    assert len(seen) == 2
    for _, context in seen:
        for step, image in zip((900, 400, 20), context.split(1)):
            assert_exact([(step, image[:, :QUERIES])], oracle, *oracle_prompts)


def test_a_run_of_no_steps(host, applied):
    sigmas = torch.tensor([])
    out = sample(host, guider(host, *applied), sigmas, latent())["samples"]
    assert torch.equal(out, latent()["samples"])
