"""Recipes: how a tensor was made of ELLA's tokens, so that it can be made again at every timestep."""

from collections.abc import Callable
from typing import Any

import torch


class Recipe:
    """What `remade` can make again: a TokenSource, or an Operation on others."""

    parts = ()


class TokenSource(Recipe):
    """The tokens of one conditioning entry of Apply ELLA, where every recipe begins.

    `text_states` is a tuple of text states (1, T, text_dim), one for each of the N images, and `connector_key` the name
    of their connector on the patched model. `tokens` (N, Q, W) are those of a middle timestep. Where `in_pairs`, each
    token stands there twice, as NegPip wants it. `pooled` is the PooledSource of the same entry, None where the
    connector makes no pooled vector for the model.
    """

    def __init__(self, text_states, connector_key, tokens, in_pairs=False):
        self.text_states = text_states
        self.connector_key = connector_key
        self.tokens = tokens
        self.in_pairs = in_pairs
        self.pooled = None

    def __deepcopy__(self, memo):
        return self  # nothing changes it, and by its identity a run knows what it has computed


class PooledSource(TokenSource):
    """The pooled vectors (N, 1280) that the connector makes of those tokens for SDXL, in `tokens` the middle ones."""


class Operation(Recipe):
    """A function of torch, called with tensors, numbers and, for what was made of ELLA's tokens, recipes.

    One that works `in_place` gives its first argument, changed.
    """

    def __init__(self, func: Callable, args: tuple, kwargs: dict[str, Any], in_place=False):
        self.func = func
        self.args = args
        self.kwargs = kwargs
        self.in_place = in_place
        self.parts = tuple(recipes_in((args, kwargs)))

    def __deepcopy__(self, memo):
        return self

    def run(self, values):
        """Its result, with the recipes among the arguments replaced by their `values`."""
        args, kwargs = each((self.args, self.kwargs), lambda item: values[item] if isinstance(item, Recipe) else item)
        if not self.in_place:
            return self.func(*args, **kwargs)
        changed = args[0].clone()
        self.func(changed, *args[1:], **kwargs)
        return changed


def remade(recipe, tokens_of, values):
    """The tensor of a recipe, given the tensors `tokens_of(source)` of its sources.

    `values` is a dict that keeps what was made on the way, by recipe.
    """
    pending = [recipe]
    while pending:
        step = pending[-1]
        missing = [part for part in step.parts if part not in values]
        if missing:
            pending += missing
            continue
        if step not in values:
            values[step] = tokens_of(step) if isinstance(step, TokenSource) else step.run(values)
        pending.pop()
    return values[recipe]


def middle_values(recipe):
    """The tensor of a recipe at the middle timestep, which Apply ELLA computed."""
    return remade(recipe, lambda source: source.tokens, {})


def each(value, change):
    """`value` with each item inside its lists, tuples and dicts changed."""
    if isinstance(value, dict):
        return {key: each(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
        items = [each(item, change) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    return change(value)


def recipes_in(value):
    """The recipes inside lists, tuples and dicts."""
    if isinstance(value, Recipe):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from recipes_in(item)
