"""Apply ELLA: prompts and connector joined with a model."""

import comfy.model_management
import comfy.utils
import torch

from ..errors import ELLAError
from .conditioning import TEXT_STATES, TOKENS, AppliedTokens
from .connector_model import check_connector, check_language_model, check_text_dim, connector_name
from .following_tensor import FollowingTensor
from .negpip import reads_in_pairs
from .pooled import pooled_output
from .recipe import TokenSource
from .sampler_patch import patch_model, remember_tokens
from .token_counts import tell_two_calls

MIDDLE_TIMESTEP = 500


def apply_ella(model, ella, positive, negative=None, clip_positive=None, clip_negative=None):
    """MODEL, connector and prompts -> (patched MODEL, positive, negative).

    `positive` and `negative` are CONDITIONING of text states, `clip_positive` and `clip_negative` of CLIP tokens that
    are appended. Without `negative` the third result is `clip_negative`, which may be None. The given MODEL is not
    changed.
    Raises ELLAError where the model, the connector and the prompts don't fit each other.
    """
    check_connector(ella, "Apply ELLA")
    model, connector_key = patch_model(model, ella)
    check_text_states(positive, "positive", ella)
    if negative is not None:
        check_text_states(negative, "negative", ella)
    in_pairs = reads_in_pairs(model.model_options)
    check_clip_width(clip_positive, "clip_positive", ella)
    check_clip_width(clip_negative, "clip_negative", ella)
    positive = apply_to_conditioning(model, positive, "positive", ella, connector_key, clip_positive, in_pairs)
    remember_tokens(model, positive)
    if negative is None:
        return model, positive, clip_negative
    negative = apply_to_conditioning(model, negative, "negative", ella, connector_key, clip_negative, in_pairs)
    remember_tokens(model, negative)
    tell_two_calls(positive, negative, clip_positive is not None, clip_negative is not None)
    return model, positive, negative


def check_text_states(conditioning, input_name, ella):
    """Raises ELLAError unless every entry holds text states of the connector's text_dim."""
    text_dim = ella.model.config.text_dim
    for states, options in conditioning:
        conds = options.get("model_conds", {})
        if TOKENS in conds or isinstance(states, FollowingTensor):
            raise ELLAError(
                f"{input_name} of Apply ELLA already went through an Apply ELLA; wire an ELLA Text Encode there, and "
                "use one Apply ELLA per prompt."
            )
        found, source = states.shape[-1], "another language model" if TEXT_STATES in conds else "a CLIP"
        check_text_dim(ella, found, f"{input_name} of Apply ELLA is {found} wide, as from {source}")
        if TEXT_STATES in conds:
            check_language_model(ella, conds[TEXT_STATES].facts, input_name)
        # SDXL's CLIP is as wide as FLAN-T5-XL. Nodes that rebuild conditionings may drop the mark, not this width.
        if TEXT_STATES not in conds and pooled_width(options) not in (None, text_dim):
            raise ELLAError(
                f"{input_name} of Apply ELLA comes from a CLIP with a pooled output of {pooled_width(options)}, where "
                "text states are expected; use Load ELLA Text Encoder and ELLA Text Encode."
            )


def pooled_width(options):
    pooled = options.get("pooled_output")
    return None if pooled is None else pooled.shape[-1]


def check_clip_width(conditioning, input_name, ella):
    """Raises ELLAError unless every entry holds CLIP tokens as wide as the connector's."""
    width = ella.model.config.width
    for tokens, _ in conditioning or ():
        if tokens.shape[-1] != width:
            raise ELLAError(
                f"{input_name} of Apply ELLA is {tokens.shape[-1]} wide, and the model attends to tokens of width "
                f"{width}; wire a CLIP Text Encode with the checkpoint's own CLIP."
            )


def apply_to_conditioning(model, conditioning, input_name, ella, connector_key, clip_conditioning, in_pairs):
    """CONDITIONING of text states -> CONDITIONING of tokens that follow the timestep, for the input of that name.

    `ella` is the connector's ModelPatcher, `connector_key` its name on the patched model. The tokens of
    `clip_conditioning` are appended after the connector's. Raises ELLAError where the numbers of entries don't match.
    """
    entries = []
    for (states, options), (clip_tokens, clip_options) in pair_entries(conditioning, clip_conditioning):
        text_states = (states,) if len(states) == 1 else tuple(without_padding(image) for image in states.split(1))
        images = max(len(text_states), 1 if clip_tokens is None else len(clip_tokens))
        tokens = comfy.utils.repeat_to_batch_size(middle_tokens(ella, text_states), images)  # (N, Q, W)
        text_states = tuple(text_states[image % len(text_states)] for image in range(images))
        paired = tokens.repeat_interleave(2, dim=1) if in_pairs else tokens
        source = TokenSource(text_states, connector_key, paired, in_pairs)
        pooled = pooled_output(model, ella, source, tokens, clip_options, input_name)
        # A copy, because nodes may change it in place.
        tokens = FollowingTensor(paired.clone(), source)
        conds = (
            {key: cond for key, cond in options["model_conds"].items() if key != TEXT_STATES}
            if "model_conds" in options
            else {}
        )
        conds[TOKENS] = AppliedTokens(torch.zeros(images, 1), source)
        merged = clip_options | options | {"model_conds": clip_options.get("model_conds", {}) | conds}
        merged["pooled_output"] = pooled
        if clip_tokens is not None:
            clip_tokens = comfy.utils.repeat_to_batch_size(clip_tokens, images).to(tokens.device, tokens.dtype)
            tokens = torch.cat([tokens, clip_tokens], dim=1)
        entries.append([tokens, merged])
    return entries


def without_padding(states):
    """Text states (1, T, text_dim) without the zeros around them by which nodes batch prompts of several lengths."""
    used = states[0].any(dim=-1).nonzero()
    return states[:, int(used[0]) : int(used[-1]) + 1] if len(used) else states


def pair_entries(conditioning, clip_conditioning):
    """Pairs of ELLA and CLIP entries: those that act at the same time, one to all of the other side, or one by one."""
    if clip_conditioning is None:
        return [(entry, (None, {})) for entry in conditioning]
    if any(time_range(options) != (0.0, 1.0) for side in (conditioning, clip_conditioning) for _, options in side):
        pairs = [while_both(ella, clip) for ella in conditioning for clip in clip_conditioning]
        return [pair for pair in pairs if pair is not None]
    if len(conditioning) == 1:
        return [(conditioning[0], entry) for entry in clip_conditioning]
    if len(clip_conditioning) == 1:
        return [(entry, clip_conditioning[0]) for entry in conditioning]
    if len(conditioning) == len(clip_conditioning):
        return list(zip(conditioning, clip_conditioning))
    raise ELLAError(
        f"Apply ELLA got {len(conditioning)} ELLA prompts and {len(clip_conditioning)} CLIP prompts to join; give one "
        "CLIP prompt, or as many as ELLA prompts."
    )


def time_range(options):
    """(start, end) percent of sampling in which an entry acts; scheduled hooks of a CLIP have a range of their own."""
    start = max(options.get("start_percent", 0.0), options.get("clip_start_percent", 0.0))
    return start, min(options.get("end_percent", 1.0), options.get("clip_end_percent", 1.0))


def while_both(ella, clip):
    """The pair of an ELLA and a CLIP entry in the range that both have, or None where they have none."""
    (ella_start, ella_end), (clip_start, clip_end) = time_range(ella[1]), time_range(clip[1])
    start, end = max(ella_start, clip_start), min(ella_end, clip_end)
    if start >= end:
        return None
    return (ella[0], ella[1] | {"start_percent": start, "end_percent": end}), clip


def middle_tokens(ella, text_states):
    """Tokens (N, Q, W) float32 of text states at a middle timestep, what a node sees in the entry's tensor."""
    comfy.model_management.load_models_gpu([ella])
    device = ella.load_device
    timesteps = torch.tensor([MIDDLE_TIMESTEP], device=device)
    tokens = [ella.model(states.to(device, torch.float32), timesteps) for states in text_states]
    lengths = sorted({one.shape[1] for one in tokens})
    if len(lengths) > 1:
        raise ELLAError(
            f"{connector_name(ella)} makes as many tokens as a prompt has, and one conditioning holds prompts of "
            f"{lengths[0]} and of {lengths[-1]}, which can't be sampled together; give them the same max_length in "
            "ELLA Text Encode."
        )
    return torch.cat(tokens).to(comfy.model_management.intermediate_device())
