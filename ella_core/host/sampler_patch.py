"""The patch of a MODEL: every evaluation attends to the connector's tokens for its own timestep.

CALC_COND_BATCH sees the true sigma of each evaluation, before conditions are batched and before ControlNet reads
them, on the main thread also when the host splits conditions over several GPUs. SAMPLER_SAMPLE knows the sigmas of
the run beforehand. What a run computes goes with it.
"""

from functools import partial

import comfy.model_base
from comfy.patcher_extension import WrappersMP, add_wrapper_with_key, copy_nested_dicts

from ..errors import ELLAError
from .conditioning import TOKENS, sources_of
from .connector_model import compute_dtype, connector_name
from .evaluation import RUN, Evaluation
from .following_tensor import FollowingTensor, check
from .negpip import reads_in_pairs
from .pooled import check_pool
from .run_tokens import RunTokens
from .settled_conditions import settle_tokens
from .timesteps import schedule_of, timesteps_of

KEY = "ella"


def check_model(model, ella):
    """Raises ELLAError unless the MODEL is a UNet whose cross-attention is as wide as the connector's tokens."""
    width = ella.model.config.width
    name = type(model.model).__name__
    if isinstance(model.model, comfy.model_base.SDXLRefiner):
        raise ELLAError(
            f"The model is SDXL's refiner, and {connector_name(ella)} makes tokens for a model that draws from the "
            "first step; wire the base model to Apply ELLA, and give the refiner CLIP prompts of its own."
        )
    context_dim = context_dim_of(model)
    if context_dim is None:
        raise ELLAError(
            f"The model ({name}) has no cross-attention of a UNet, and {connector_name(ella)} makes tokens of width "
            f"{width} for one; use a Stable Diffusion 1.5 checkpoint."
        )
    if context_dim != width:
        raise ELLAError(
            f"The model ({name}) attends to tokens of width {context_dim} and {connector_name(ella)} makes tokens of "
            f"width {width}; use a checkpoint of the family it was trained for (768 is Stable Diffusion 1.5, 2048 is "
            "SDXL)."
        )
    check_pool(model, ella)


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
        # Nodes that copy the model's options and evaluate by them later take this along.
        add_wrapper_with_key(WrappersMP.CALC_COND_BATCH, KEY, set_timestep_tokens, model.model_options, True)
    return model, connector_key


def remember_tokens(model, conditioning):
    """Notes on a patched MODEL what Apply ELLA made, so that a run finds those tokens inside other conditionings."""
    model.set_attachments(KEY, model.attachments.get(KEY, ()) + sources_of(conditioning))


def start_run(executor, guider, sigmas, extra_args, *args, **kwargs):
    """SAMPLER_SAMPLE wrapper: begins a run whose timesteps are known."""
    made = guider.model_patcher.attachments.get(KEY, ())
    for name, cond in guider.conds.items():
        guider.conds[name] = [settle_tokens(entry, made) for entry in cond]
    wrappers = extra_args["model_options"]["transformer_options"]["wrappers"][WrappersMP.CALC_COND_BATCH]
    wrappers[KEY] = wrappers[KEY][:1]  # once, though it came with the MODEL and with its options
    model = guider.inner_model
    run = RunTokens(schedule_of(model.model_sampling, sigmas), compute_dtype(model))
    outer = RUN.set((model, run))
    try:
        return executor(guider, sigmas, extra_args, *args, **kwargs)
    finally:
        RUN.reset(outer)


def set_timestep_tokens(executor, model, conds, x_in, timestep, model_options, *args, **kwargs):
    """CALC_COND_BATCH wrapper: puts the tokens of this evaluation's timestep into every condition that follows it."""
    run_model, run = RUN.get()
    if run_model is not model:
        run = RunTokens({}, compute_dtype(model))
    # The host calls a sigma "timestep" here.
    timesteps = evaluation_timesteps(run, model, timestep)
    with Evaluation(run, model, timesteps, reads_in_pairs(model_options)) as evaluation:
        conds = [cond and [entry_at(entry, evaluation) for entry in cond] for cond in conds]
        if "multigpu_clones" in model_options:
            model_options = on_each_device(evaluation, model_options)
        return executor(model, conds, x_in, timestep, model_options, *args, **kwargs)


def on_each_device(evaluation, model_options):
    """Model options by which the threads of the host's multi-GPU split are in the evaluation too."""
    model_options = copy_nested_dicts(model_options)
    add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, partial(apply_on_device, evaluation), model_options, True)
    return model_options


def apply_on_device(evaluation, executor, *args, **kwargs):
    with evaluation.on(executor.class_obj):
        return executor(*args, **kwargs)


def evaluation_timesteps(run, model, sigmas):
    """The timestep of each image of an evaluation, or a single one where all are at the same."""
    values = sigmas.tolist()
    if values.count(values[0]) == len(values):
        values = values[:1]
    for index, value in enumerate(values):
        if value not in run.timestep_of:
            (run.timestep_of[value],) = timesteps_of(model.model_sampling, sigmas[index : index + 1])
    return [run.timestep_of[value] for value in values]


def entry_at(entry, evaluation):
    """A condition as it is in an evaluation, its context and for SDXL its y; the entry itself stays as it was."""
    conds = entry["model_conds"]
    following = {name: cond for name, cond in conds.items() if isinstance(getattr(cond, "cond", None), FollowingTensor)}
    for name, cond in following.items():
        check(cond.cond, evaluation.run)
        conds = conds | {name: cond._copy_with(evaluation.context(cond.cond.recipe))}
    if "c_crossattn" in following:
        conds.pop(TOKENS, None)
    return entry | {"model_conds": conds} if following else entry
