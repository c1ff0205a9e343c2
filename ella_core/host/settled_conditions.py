"""ELLA's tokens in conditions whose tensor another node made anew, found by their values when a run begins."""

import torch

from ..errors import ELLAError
from .conditioning import TOKENS
from .following_tensor import LOST, FollowingTensor
from .pooled import settle_pooled


def settle_tokens(entry, made):
    """A processed condition as a run may use it: its context follows the timestep wherever ELLA's tokens are in it.

    `made` are the TokenSources of the Apply ELLA nodes on the model. Nodes that take a tensor through numpy or a file
    lose what a FollowingTensor knows, and images or frames may be picked out. Raises ELLAError for a condition of Apply
    ELLA whose tokens are neither found nor all zero.
    """
    conds, mark = entry["model_conds"], entry["model_conds"].get(TOKENS)
    if mark is not None:
        conds = settle_pooled(conds, mark.source.pooled)
        entry = entry | {"model_conds": conds}
    context = conds.get("c_crossattn")
    if context is None or isinstance(context.cond, FollowingTensor):
        return entry
    found = with_tokens(context.cond, made if mark is None else (mark.source, *made))
    if found is None:
        if mark is None:
            return entry
        if context.cond[:, : mark.source.tokens.shape[1]].any():
            raise ELLAError(LOST)
        return entry | {"model_conds": {key: cond for key, cond in conds.items() if key != TOKENS}}
    return entry | {"model_conds": conds | {"c_crossattn": context._copy_with(found)}}


def with_tokens(context, sources):
    """A context (N, T, W) as a FollowingTensor, by the tokens of TokenSources that are in it, or None without any."""
    parts, end = [], 0
    for start, tokens in sorted(found_tokens(context, sources), key=lambda pair: pair[0]):
        if start >= end:
            parts += [context[:, end:start], tokens]
            end = start + tokens.shape[1]
    return torch.cat([*parts, context[:, end:]], dim=1) if parts else None


def found_tokens(context, sources):
    """(start, FollowingTensor) of each place in a context (N, T, W) that holds a source's tokens, rows in any order."""
    for source in sources:
        tokens = source.tokens.to(context)
        count = tokens.shape[1]
        if tokens.shape[2] != context.shape[2] or count > context.shape[1]:
            continue
        begins = context[0, : context.shape[1] - count + 1, None] == tokens[:, 0]  # (T - Q + 1, N, W)
        for start in begins.all(dim=-1).any(dim=-1).nonzero().flatten().tolist():
            rows = rows_of(tokens, context[:, start : start + count])
            if rows is not None:
                yield start, FollowingTensor(source.tokens.clone(), source)[rows].to(context.device, context.dtype)


def rows_of(tokens, found):
    """Indices of the rows of tokens (N, Q, W) that `found` (M, Q, W) consists of, or None where one is not."""
    rows = [next((row for row, own in enumerate(tokens) if torch.equal(own, image)), None) for image in found]
    return None if None in rows else rows
