"""The context at every UNet evaluation, against a float64 connector at that evaluation's own timestep.

Without any schedule input: for every scheduler and for samplers of first and second order, single- and multistep,
stochastic ones too. The final latents are those of a run that calls the connector anew in each evaluation.
"""

import comfy.samplers
import pytest
import torch
from sampling import LATENT, assert_exact, brute_force, ksample, record_context, relative, tagged

SAMPLERS = ("euler", "heun", "dpmpp_2m", "dpmpp_2m_sde", "uni_pc", "lcm")
# One even in timesteps, one that is not and starts in the middle, and one that ends far from the smallest sigma.
SCHEDULES = (("normal", 1.0), ("karras", 0.5), ("sgm_uniform", 1.0))
RUNS = sorted(
    {("euler", scheduler, denoise) for scheduler in comfy.samplers.SCHEDULER_NAMES for denoise in (1.0, 0.5)}
    | {(sampler, *schedule) for sampler in SAMPLERS for schedule in SCHEDULES}
)


def test_the_schedulers_of_the_host_are_among_the_runs():
    """Those that every supported host has; whatever a later one adds is run as well."""
    names = {"normal", "karras", "exponential", "sgm_uniform", "simple", "ddim_uniform", "beta", "linear_quadratic"}
    assert names | {"kl_optimal"} <= {scheduler for _, scheduler, _ in RUNS}


@pytest.mark.parametrize("sampler, scheduler, denoise", RUNS)
def test_every_evaluation_has_its_own_timestep(host, model, applied, text_states, oracle, sampler, scheduler, denoise):
    run = {"sampler": sampler, "scheduler": scheduler, "denoise": denoise}
    patched, positive, negative = applied
    recorded, seen = record_context(patched)
    latents = ksample(host, recorded, positive, negative, **run)
    prompts = text_states[0][0][0], text_states[1][0][0]
    assert_exact(seen, oracle, *prompts)

    expected = ksample(host, brute_force(model, oracle, *prompts), tagged(1), tagged(2), **run)
    assert relative(latents, expected) < LATENT


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_as_many_evaluations_as_with_clip(host, model, applied, clip_conds, sampler):
    counts = []
    for patched, positive, negative in (applied, (model, *clip_conds)):
        recorded, seen = record_context(patched)
        ksample(host, recorded, positive, negative, sampler=sampler, scheduler="karras")
        counts.append([timestep for timestep, _ in seen])
    assert counts[0] == counts[1]


def test_same_seed_same_bits(host, applied):
    first = ksample(host, *applied, sampler="dpmpp_2m_sde")
    assert torch.equal(first, ksample(host, *applied, sampler="dpmpp_2m_sde"))
    assert not torch.equal(first, ksample(host, *applied, sampler="dpmpp_2m_sde", seed=4))


def test_the_given_model_is_not_changed(host, model, ella, text_states, clip_conds):
    before = ksample(host, model, *clip_conds)
    options, wrappers = repr(model.model_options), repr(model.wrappers)
    patched, positive, negative = host.run(
        "ELLAApplyConditioning", model=model, ella=ella, positive=text_states[0], negative=text_states[1]
    )
    assert relative(ksample(host, patched, positive, negative), before) > 0.01
    assert (repr(model.model_options), repr(model.wrappers)) == (options, wrappers)
    assert not model.additional_models
    assert torch.equal(ksample(host, model, *clip_conds), before)


def test_clip_conditioning_passes_a_patched_model_unchanged(host, model, applied, clip_conds):
    assert torch.equal(ksample(host, applied[0], *clip_conds), ksample(host, model, *clip_conds))


def count_forwards(connector):
    """List that grows by the batch size of every forward of a connector, until `remove` of the handle."""
    batches = []
    handle = connector.connector.register_forward_hook(lambda module, inputs, output: batches.append(len(output)))
    return batches, handle


@pytest.mark.parametrize(
    "sampler, cfg, expected",
    [
        ("euler", 7.0, [6, 6]),
        ("euler", 1.0, [6]),  # the negative is never evaluated, so never computed
        ("heun", 7.0, [6, 6]),  # its second evaluations are at the next step's sigma
        ("dpm_2", 7.0, [6, 6] + [1] * 10),  # evaluates between the steps: unforeseen, one by one
    ],
)
def test_the_schedule_is_one_batch_per_prompt(host, applied, ella, sampler, cfg, expected):
    batches, handle = count_forwards(ella.model)
    try:
        ksample(host, *applied, sampler=sampler, steps=6, cfg=cfg)
    finally:
        handle.remove()
    assert sorted(batches, reverse=True) == expected
