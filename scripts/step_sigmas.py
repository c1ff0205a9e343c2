"""The sigma of each step of a KSampler, by the host's own samplers and the checkpoint's own schedule."""

from types import SimpleNamespace


def model_sampling_of(weights):
    """The `model_sampling` that the host gives a checkpoint's tensors, or None where it knows no such checkpoint.

    The tensors are looked at by name and shape; the model is not built.
    """
    import comfy.model_base
    import comfy.model_detection

    prefix = comfy.model_detection.unet_prefix_from_state_dict(weights)
    config = comfy.model_detection.model_config_from_unet(weights, prefix)
    return config and comfy.model_base.model_sampling(config, config.model_type(weights, prefix))


def step_sigmas(sampling, *, steps, sampler_name, scheduler, denoise, **others):
    """Sigmas (steps,) of a KSampler with these inputs on a model of that `model_sampling`, without the last 0."""
    import comfy.samplers

    model = SimpleNamespace(get_model_object=lambda name: sampling)
    return comfy.samplers.KSampler(model, steps, "cpu", sampler_name, scheduler, denoise).sigmas[:-1]
