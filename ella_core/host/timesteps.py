"""Which training timestep a model evaluation is at, by the model's own sampling type."""

import comfy.model_sampling

# Continuous types: their timestep() is a function of sigma, not a step of 0..999.
CONTINUOUS = (comfy.model_sampling.ModelSamplingContinuousEDM, comfy.model_sampling.ModelSamplingDiscreteEDM)


def timesteps_of(model_sampling, sigmas):
    """Sigmas (N,) -> training timesteps, a list of N numbers in 0..999.

    A model with a discrete time (eps, v_prediction, x0, lcm, zsnr) states its own, exactly what its UNet is told. For a
    continuous one (EDM, continuous v) it is the step of Stable Diffusion's schedule whose sigma is nearest in log. A
    flow model's time of 0..1000 is cut at 999.
    """
    if isinstance(model_sampling, CONTINUOUS):
        model_sampling = comfy.model_sampling.ModelSamplingDiscrete()
    return [min(timestep, 999) for timestep in model_sampling.timestep(sigmas).tolist()]


def schedule_of(model_sampling, sigmas):
    """{sigma: timestep} of a run that steps through `sigmas`, from noise to picture; sigma 0 is never evaluated."""
    sigmas = sigmas[sigmas > 0]
    return dict(zip(sigmas.tolist(), timesteps_of(model_sampling, sigmas)))
