"""ELLA in a CONDITIONING: one entry per prompt, whatever the number of steps.

An entry's tensor is what other nodes expect there: the text states before Apply ELLA, the tokens of a middle
timestep after it. What makes the entry ELLA's own lies in its `model_conds`, as objects of the classes below. The
host calls their `process_cond` when it builds a batch, and the sampler patch takes them out before; so an entry that
was not applied, or whose model was not patched, can't pass unnoticed.
"""

from __future__ import annotations

import comfy.conds
import comfy.model_management
import comfy.utils
import torch

from ..errors import ELLAError
from .connector_model import connector_name

TEXT_STATES = "ella_text_states"
TOKENS = "ella_tokens"
MIDDLE_TIMESTEP = 500


class UnappliedTextStates(comfy.conds.CONDRegular):
    """Marks an entry whose tensor is text states."""

    def process_cond(self, batch_size, **kwargs):
        raise ELLAError(
            "Text states of ELLA's text encoder reached a sampler directly; wire them to Apply ELLA and use its "
            "positive and negative."
        )


class TimestepTokens(comfy.conds.CONDRegular):
    """The prompts of an applied entry and the connector that reads them.

    `cond` (N, 1) holds indices into `prompts`, a tuple of text states (1, T, text_dim) of any lengths, so that whoever
    slices or repeats conditions by frames or images takes each one's prompt along. `connector` is the key of the
    additional model, `tokens` (N, Q, W) the entry's tensor as Apply ELLA made it.
    """

    def __init__(self, cond, prompts, connector, tokens):
        super().__init__(cond)
        self.prompts = prompts
        self.connector = connector
        self.tokens = tokens
        self.image_prompts = [prompts[index] for (index,) in cond.tolist()]

    def _copy_with(self, cond):
        return self.__class__(cond, self.prompts, self.connector, self.tokens)

    def process_cond(self, batch_size, **kwargs):
        raise ELLAError(
            "A conditioning of Apply ELLA is sampled with a model that did not come from it; wire the MODEL output of "
            "Apply ELLA to the sampler."
        )


def text_states_mark():
    """Options of a CONDITIONING entry whose tensor is text states."""
    return {"model_conds": {TEXT_STATES: UnappliedTextStates(torch.zeros(1, 1))}}


def check_text_states(conditioning, input_name, ella):
    """Raises ELLAError unless every entry holds text states of the connector's text_dim."""
    text_dim = ella.model.config.text_dim
    for states, options in conditioning:
        conds = options.get("model_conds", {})
        if TOKENS in conds:
            raise ELLAError(
                f"{input_name} of Apply ELLA already went through an Apply ELLA; wire a T5 Text Encode there, and use "
                "one Apply ELLA per prompt."
            )
        found = states.shape[-1]
        if found != text_dim:
            raise ELLAError(
                f"{input_name} of Apply ELLA is {found} wide, "
                f"{'as from another language model' if TEXT_STATES in conds else 'as from a CLIP'}, and "
                f"{connector_name(ella)} reads text states of width {text_dim}; load the language model it was trained "
                "with (FLAN-T5-XL has 2048) with Load ELLA Text Encoder."
            )
        # SDXL's CLIP is as wide as FLAN-T5-XL. Nodes that rebuild conditionings may drop the mark, not this width.
        if TEXT_STATES not in conds and pooled_width(options) not in (None, text_dim):
            raise ELLAError(
                f"{input_name} of Apply ELLA comes from a CLIP with a pooled output of {pooled_width(options)}, where "
                "text states are expected; use Load ELLA Text Encoder and T5 Text Encode."
            )


def pooled_width(options):
    pooled = options.get("pooled_output")
    return None if pooled is None else pooled.shape[-1]


def apply_to_conditioning(conditioning, ella, connector, clip_conditioning=None):
    """CONDITIONING of text states -> CONDITIONING of tokens that follow the timestep.

    `ella` is the connector's ModelPatcher, `connector` its key on the patched model. The tokens of `clip_conditioning`
    are appended after the connector's. Raises ELLAError where the numbers of entries don't match.
    """
    entries = []
    for (states, options), (clip_tokens, clip_options) in pair_entries(conditioning, clip_conditioning):
        prompts = (states,) if len(states) == 1 else tuple(without_padding(image) for image in states.split(1))
        images = max(len(prompts), 1 if clip_tokens is None else len(clip_tokens))
        tokens = comfy.utils.repeat_to_batch_size(middle_tokens(ella, prompts), images)  # (N, Q, W)
        conds = (
            {key: cond for key, cond in options["model_conds"].items() if key != TEXT_STATES}
            if "model_conds" in options
            else {}
        )
        conds[TOKENS] = TimestepTokens(torch.arange(images)[:, None] % len(prompts), prompts, connector, tokens)
        merged = clip_options | options | {"model_conds": clip_options.get("model_conds", {}) | conds}
        if clip_tokens is None:
            merged["pooled_output"] = torch.zeros(len(tokens), tokens.shape[-1])
            entries.append([tokens, merged])
        else:
            merged["pooled_output"] = clip_options.get("pooled_output")
            clip_tokens = comfy.utils.repeat_to_batch_size(clip_tokens.to(tokens), images)
            entries.append([torch.cat([tokens, clip_tokens], dim=1), merged])
    return entries


def without_padding(states):
    """Text states (1, T, text_dim) without the zeros around them by which nodes batch prompts of several lengths."""
    used = states[0].any(dim=-1).nonzero()
    return states[:, int(used[0]) : int(used[-1]) + 1] if len(used) else states


def tokens_made(conditioning):
    """The TimestepTokens of a CONDITIONING that Apply ELLA made."""
    return tuple(
        options["model_conds"][TOKENS] for _, options in conditioning if TOKENS in options.get("model_conds", {})
    )


def settle_tokens(entry, made):
    """A processed condition as a run may use it: what other nodes did to ELLA's tokens is kept, found or refused.

    `made` are the TimestepTokens of the Apply ELLA nodes on the model. Zeroed tokens stay zero at every timestep, and
    images or frames that were picked out keep their prompts. Raises ELLAError for tokens that were blended or scaled,
    which would otherwise be overwritten at the first step.
    """
    conds = dict(entry["model_conds"])
    context, prompt = conds.get("c_crossattn"), conds.get(TOKENS)
    if context is None:
        return entry
    if prompt is None:
        return entry | {"model_conds": conds | tokens_inside(context, made)}
    tokens = context.cond[:, : prompt.tokens.shape[1]]
    rows = rows_of(prompt.tokens, tokens)
    if rows is not None:
        conds[TOKENS] = prompt._copy_with(rows)
    elif not tokens.any():
        del conds[TOKENS]
    else:
        raise ELLAError(
            "ELLA's tokens were blended or scaled by another node after Apply ELLA, which would be lost because they "
            "change at every step; wire such a node between T5 Text Encode and Apply ELLA."
        )
    return entry | {"model_conds": conds}


def rows_of(tokens, found):
    """Indices (M, 1) of the rows of tokens (N, Q, W) that `found` (M, Q, W) consists of, or None where one is not."""
    tokens = tokens.to(found)
    indices = [next((i for i, own in enumerate(tokens) if torch.equal(own, row)), None) for row in found]
    return None if None in indices else torch.tensor(indices)[:, None]


def tokens_inside(context, made):
    """model_conds of a context into which a node appended ELLA's tokens after others, or none of them.

    ConditioningConcat with ELLA as `conditioning_from` keeps the options of the other side alone, so the tokens are
    found by value. They are put first; the order of tokens means nothing to attention.
    """
    for prompt in made:
        start = position_of(prompt.tokens, context.cond)
        if start is not None:
            before, tokens, after = context.cond.tensor_split((start, start + prompt.tokens.shape[1]), dim=1)
            return {TOKENS: prompt, "c_crossattn": context._copy_with(torch.cat([tokens, before, after], dim=1))}
    return {}


def position_of(tokens, context):
    """Where tokens (N, Q, W) begin in a context (N or more, T, W), or None."""
    count = tokens.shape[1]
    if tokens.shape[2] != context.shape[2] or count > context.shape[1] or len(context) % len(tokens):
        return None
    tokens = tokens.to(context).repeat(len(context) // len(tokens), 1, 1)
    first = (context[:, : context.shape[1] - count + 1] == tokens[:, :1]).all(dim=-1).all(dim=0)  # (T - Q + 1,)
    starts = first.nonzero().flatten().tolist()
    return next((start for start in starts if torch.equal(context[:, start : start + count], tokens)), None)


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


def middle_tokens(ella, prompts):
    """Tokens (N, Q, W) float32 of prompts at a middle timestep, what a node sees that looks at the entry's tensor."""
    comfy.model_management.load_models_gpu([ella])
    device = ella.load_device
    timesteps = torch.tensor([MIDDLE_TIMESTEP], device=device)
    tokens = [ella.model(states.to(device, torch.float32), timesteps) for states in prompts]
    return torch.cat(tokens).to(comfy.model_management.intermediate_device())
