"""The patch of a MODEL: every evaluation attends to the connector's tokens for its own timestep.

CALC_COND_BATCH sees the true sigma of each evaluation, before conditions are batched and before ControlNet reads
them, on the main thread also when the host splits conditions over several GPUs. SAMPLER_SAMPLE knows the sigmas of
the run beforehand. What a run computes lies in the run's own model options and goes with them.
"""

import comfy.utils
import torch
from comfy.patcher_extension import WrappersMP

from ..errors import ELLAError
from .conditioning import TOKENS, tokens_made
from .connector_model import compute_dtype, connector_name
from .run_tokens import RunTokens
from .settled_conditions import settle_tokens
from .timesteps import schedule_of, timesteps_of

KEY = "ella"


def check_model(model, ella):
    """Raises ELLAError unless the MODEL is a UNet whose cross-attention is as wide as the connector's tokens."""
    width = ella.model.config.width
    name = type(model.model).__name__
    context_dim = context_dim_of(model)
    if context_dim is None:
        raise ELLAError(
            f"The model ({name}) has no cross-attention of a UNet, and {connector_name(ella)} makes tokens of width "
            f"{width} for one; use a Stable Diffusion 1.5 checkpoint."
        )
    if context_dim != width:
        raise ELLAError(
            f"The model ({name}) attends to tokens of width {context_dim} and {connector_name(ella)} makes tokens of "
            f"width {width}; use a checkpoint of the family it was trained for (768 is Stable Diffusion 1.5)."
        )


def context_dim_of(model):
    """Width of the tokens that a MODEL's UNet attends to, or None where it has no such cross-attention."""
    context_dim = model.model.model_config.unet_config.get("context_dim")
    return context_dim[0] if isinstance(context_dim, (list, tuple)) else context_dim


def patch_model(model, ella):
    """(clone of a MODEL that carries the connector, connector_key): the key is how its conditionings name it."""
    check_model(model, ella)
    connector_key = f"{KEY}.{id(ella.model):x}"
    model = model.clone()
    model.set_additional_models(connector_key, [ella])
    if KEY not in model.wrappers.get(WrappersMP.SAMPLER_SAMPLE, {}):
        model.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, KEY, start_run)
        model.add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, set_timestep_tokens)
    return model, connector_key


def remember_tokens(model, conditioning):
    """Notes on a patched MODEL what Apply ELLA made, so that a run finds those tokens inside other conditionings."""
    model.set_attachments(KEY, model.attachments.get(KEY, ()) + tokens_made(conditioning))


def start_run(executor, guider, sigmas, extra_args, *args, **kwargs):
    """SAMPLER_SAMPLE wrapper: notes the run's timesteps in the model options that live as long as the run."""
    made = guider.model_patcher.attachments.get(KEY, ())
    for name, cond in guider.conds.items():
        guider.conds[name] = [settle_tokens(entry, made) for entry in cond]
    schedule = schedule_of(guider.inner_model.model_sampling, sigmas)
    extra_args["model_options"][KEY] = RunTokens(schedule, compute_dtype(guider.inner_model))
    return executor(guider, sigmas, extra_args, *args, **kwargs)


def set_timestep_tokens(executor, model, conds, x_in, timestep, model_options, *args, **kwargs):
    """CALC_COND_BATCH wrapper: puts the tokens of this evaluation's timestep into every ELLA condition."""
    run = model_options.get(KEY) or RunTokens({}, compute_dtype(model))
    # The host calls a sigma "timestep" here.
    timesteps = evaluation_timesteps(run, model, timestep)
    conds = [cond and [entry_at(entry, model, run, timesteps) for entry in cond] for cond in conds]
    return executor(model, conds, x_in, timestep, model_options, *args, **kwargs)


def evaluation_timesteps(run, model, sigmas):
    """The timestep of each image of an evaluation, or a single one where all are at the same."""
    values = sigmas.tolist()
    if values.count(values[0]) == len(values):
        values = values[:1]
    for index, value in enumerate(values):
        if value not in run.timestep_of:
            (run.timestep_of[value],) = timesteps_of(model.model_sampling, sigmas[index : index + 1])
    return [run.timestep_of[value] for value in values]


def entry_at(entry, model, run, timesteps):
    """A condition as it is at these timesteps, one for each image or one for all; the entry itself stays as it was."""
    timestep_tokens = entry["model_conds"].get(TOKENS)
    if timestep_tokens is None:
        return entry
    ella = run.patchers.get(timestep_tokens.connector_key)
    if ella is None:
        found = model.current_patcher.get_additional_models_with_key(timestep_tokens.connector_key)
        if not found:
            return entry  # its process_cond explains that the model is not the one from its Apply ELLA
        (ella,) = found
        run.patchers[timestep_tokens.connector_key] = ella
    context = entry["model_conds"]["c_crossattn"]
    of_images = timestep_tokens.text_states_of_images
    if len(timesteps) == 1:
        pairs = [(states, timesteps[0]) for states in of_images]
    else:
        pairs = [(of_images[image % len(of_images)], timestep) for image, timestep in enumerate(timesteps)]
    tokens = [run.at(states, timestep, ella, context.cond) for states, timestep in pairs]
    tokens = tokens[0] if len(tokens) == 1 else torch.cat(tokens)  # (N, Q, W)
    if context.cond.shape[1] > tokens.shape[1]:
        appended = context.cond[:, tokens.shape[1] :]  # tokens that other nodes put after the connector's
        tokens = torch.cat([tokens, comfy.utils.repeat_to_batch_size(appended, len(tokens))], dim=1)
    conds = entry["model_conds"] | {"c_crossattn": context._copy_with(tokens)}
    del conds[TOKENS]
    return entry | {"model_conds": conds}
