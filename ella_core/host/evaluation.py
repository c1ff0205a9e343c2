"""The UNet evaluation that a thread is in, and what recipes give at its timestep."""

import itertools
from contextvars import ContextVar

import torch

from ..errors import ELLAError
from .recipe import PooledSource, TokenSource, remade

CURRENT = ContextVar("ella_evaluation", default=None)
RUN = ContextVar("ella_run", default=(None, None))  # the model that this thread samples, and its RunTokens
numbers = itertools.count()

OUTSIDE = (
    "A conditioning of Apply ELLA is used by a model that did not come from it; wire the MODEL output of Apply ELLA to "
    "the sampler, and to every node that takes both a MODEL and this conditioning."
)
COPIED_OPTIONS = (
    "A node between the checkpoint and Apply ELLA evaluates the model by options that it copied before Apply ELLA; put "
    "Apply ELLA before that node, so that its MODEL goes through it."
)


class Evaluation:
    """One evaluation of `model` at `timesteps`, one for each image or one for all, within the run of a RunTokens.

    As a context manager it is the one that this thread is in. `in_pairs` tells that the model reads its context in
    pairs, every other token as key and value.
    """

    def __init__(self, run, model, timesteps, in_pairs):
        self.run = run
        self.model = model
        self.timesteps = timesteps
        self.in_pairs = in_pairs
        self.number = next(numbers)
        self.made = {}  # by timestep, what recipes gave

    def __enter__(self):
        self.outer = CURRENT.set(self)
        return self

    def __exit__(self, *error):
        CURRENT.reset(self.outer)

    def on(self, model):
        """The same evaluation by another copy of the model, as each device has one."""
        return Evaluation(self.run, model, self.timesteps, self.in_pairs)

    def context(self, recipe):
        """Tensor (N, T, W) of a condition's recipe, with a row for each image where their timesteps differ."""
        if len(self.timesteps) == 1:
            return self.at(recipe, self.timesteps[0])
        tensors = [self.at(recipe, timestep) for timestep in self.timesteps]
        return torch.stack([tensor[image % len(tensor)] for image, tensor in enumerate(tensors)])

    def held(self, recipe):
        """The tensor of a recipe that another node kept, which knows of no images."""
        if len(self.timesteps) > 1:
            raise ELLAError(
                "A node keeps a conditioning of Apply ELLA inside the MODEL, and this sampler takes images at several "
                "timesteps together, where it can't follow; sample one image at a time."
            )
        return self.at(recipe, self.timesteps[0])

    def at(self, recipe, timestep):
        made = self.made.setdefault(timestep, {})
        if isinstance(recipe, TokenSource):  # nothing was done to most contexts, and this comes at every evaluation
            if recipe not in made:
                made[recipe] = self.tokens(recipe, timestep)
            return made[recipe]
        return remade(recipe, lambda source: self.tokens(source, timestep), made)

    def tokens(self, source, timestep):
        """Tokens (N, Q, W) of a TokenSource, or pooled vectors (N, P) of a PooledSource, at a timestep."""
        if not isinstance(source, PooledSource) and source.in_pairs != self.in_pairs:
            raise ELLAError(
                f"NegPip is {'on' if self.in_pairs else 'not on'} the model that samples, and "
                f"{'' if source.in_pairs else 'not '}on the one that Apply ELLA was given; put CLIP NegPip before "
                "Apply ELLA, and wire the MODEL output of Apply ELLA to the sampler."
            )
        ella = self.run.patcher(source.connector_key, self.model)
        if ella is None:
            raise ELLAError(OUTSIDE)
        read = self.run.pooled_at if isinstance(source, PooledSource) else self.run.at
        rows = [read(states, timestep, ella, source.tokens) for states in source.text_states]
        tokens = rows[0] if len(rows) == 1 else torch.cat(rows)
        return tokens.repeat_interleave(2, dim=1) if source.in_pairs else tokens


def sentence_outside():
    """What to say of ELLA's tokens in a network that is not in an evaluation of an ELLA model."""
    return OUTSIDE if RUN.get()[0] is None else COPIED_OPTIONS


def current_evaluation():
    """The Evaluation that this thread is in, or None."""
    return CURRENT.get()
