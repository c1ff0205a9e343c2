"""ELLA in a CONDITIONING: one entry per prompt, whatever the number of steps.

An entry's tensor is what other nodes expect there: the text states before Apply ELLA, a FollowingTensor of tokens after
it. What marks the entry as ELLA's lies in its `model_conds`, as objects of the classes below. The host calls their
`process_cond` when it builds a batch, and the sampler patch takes them out before; so an entry that was not applied, or
whose model was not patched, can't pass unnoticed.
"""

import comfy.conds
import torch

from ..errors import ELLAError
from .evaluation import sentence_outside

TEXT_STATES = "ella_text_states"
TOKENS = "ella_tokens"


class UnappliedTextStates(comfy.conds.CONDRegular):
    """Marks an entry whose tensor is text states; `facts` (TextEncoderFacts) say which language model read them."""

    def __init__(self, cond, facts=None):
        super().__init__(cond)
        self.facts = facts

    def _copy_with(self, cond):
        return self.__class__(cond, self.facts)

    def process_cond(self, batch_size, **kwargs):
        raise ELLAError(
            "Text states of ELLA's text encoder reached a sampler directly; wire them to Apply ELLA and use its "
            "positive and negative."
        )


class AppliedTokens(comfy.conds.CONDRegular):
    """Marks an entry that Apply ELLA made, with the TokenSource of its tokens.

    `cond` (N, 1) means nothing: whoever slices or repeats conditions by frames or images expects a row for each.
    """

    def __init__(self, cond, source):
        super().__init__(cond)
        self.source = source

    def _copy_with(self, cond):
        return self.__class__(cond, self.source)

    def process_cond(self, batch_size, **kwargs):
        raise ELLAError(sentence_outside())


def text_states_mark(facts=None):
    """Options of a CONDITIONING entry of text states; `facts` are its language model's TextEncoderFacts, if known."""
    return {"model_conds": {TEXT_STATES: UnappliedTextStates(torch.zeros(1, 1), facts)}}


def sources_of(conditioning):
    """The TokenSources of a CONDITIONING that Apply ELLA made."""
    return tuple(
        options["model_conds"][TOKENS].source for _, options in conditioning if TOKENS in options.get("model_conds", {})
    )
