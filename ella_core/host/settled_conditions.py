"""What other nodes did to ELLA's tokens after Apply ELLA: kept, found or refused when a run begins."""

import torch

from ..errors import ELLAError
from .conditioning import TOKENS


def settle_tokens(entry, made):
    """A processed condition as a run may use it: what other nodes did to ELLA's tokens is kept, found or refused.

    `made` are the TimestepTokens of the Apply ELLA nodes on the model. Zeroed tokens stay zero at every timestep, and
    images or frames that were picked out keep their prompts. Raises ELLAError for tokens that were blended or scaled,
    which would otherwise be overwritten at the first step.
    """
    conds = dict(entry["model_conds"])
    context, timestep_tokens = conds.get("c_crossattn"), conds.get(TOKENS)
    if context is None:
        return entry
    if timestep_tokens is None:
        return entry | {"model_conds": conds | tokens_inside(context, made)}
    tokens = context.cond[:, : timestep_tokens.tokens.shape[1]]
    rows = rows_of(timestep_tokens.tokens, tokens)
    if rows is not None:
        conds[TOKENS] = timestep_tokens._copy_with(rows)
    elif not tokens.any():
        del conds[TOKENS]
    else:
        raise ELLAError(
            "ELLA's tokens were blended or scaled by another node after Apply ELLA, which would be lost because they "
            "change at every step; wire such a node between ELLA Text Encode and Apply ELLA."
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
    for timestep_tokens in made:
        start = position_of(timestep_tokens.tokens, context.cond)
        if start is not None:
            before, tokens, after = context.cond.tensor_split((start, start + timestep_tokens.tokens.shape[1]), dim=1)
            return {
                TOKENS: timestep_tokens,
                "c_crossattn": context._copy_with(torch.cat([tokens, before, after], dim=1)),
            }
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
