"""ELLA in a CONDITIONING: one entry per prompt, whatever the number of steps.

An entry's tensor is what other nodes expect there: the text states before Apply ELLA, the tokens of a middle
timestep after it. What makes the entry ELLA's own lies in its `model_conds`, as objects of the classes below. The
host calls their `process_cond` when it builds a batch, and the sampler patch takes them out before; so an entry that
was not applied, or whose model was not patched, can't pass unnoticed.
"""

import comfy.conds
import torch

from ..errors import ELLAError

TEXT_STATES = "ella_text_states"
TOKENS = "ella_tokens"


class UnappliedTextStates(comfy.conds.CONDRegular):
    """Marks an entry whose tensor is text states."""

    def process_cond(self, batch_size, **kwargs):
        raise ELLAError(
            "Text states of ELLA's text encoder reached a sampler directly; wire them to Apply ELLA and use its "
            "positive and negative."
        )


class TimestepTokens(comfy.conds.CONDRegular):
    """The text states of an applied entry and the connector that reads them.

    `cond` (N, 1) holds indices into `text_states`, a tuple of text states (1, T, text_dim) of any lengths, so that
    whoever slices or repeats conditions by frames or images takes each one's prompt along. `connector_key` names the
    additional model, `tokens` (N, Q, W) is the entry's tensor as Apply ELLA made it.
    """

    def __init__(self, cond, text_states, connector_key, tokens):
        super().__init__(cond)
        self.text_states = text_states
        self.connector_key = connector_key
        self.tokens = tokens
        self.text_states_of_images = [text_states[index] for (index,) in cond.tolist()]

    def _copy_with(self, cond):
        return self.__class__(cond, self.text_states, self.connector_key, self.tokens)

    def process_cond(self, batch_size, **kwargs):
        raise ELLAError(
            "A conditioning of Apply ELLA is sampled with a model that did not come from it; wire the MODEL output of "
            "Apply ELLA to the sampler."
        )


def text_states_mark():
    """Options of a CONDITIONING entry whose tensor is text states."""
    return {"model_conds": {TEXT_STATES: UnappliedTextStates(torch.zeros(1, 1))}}


def tokens_made(conditioning):
    """The TimestepTokens of a CONDITIONING that Apply ELLA made."""
    return tuple(
        options["model_conds"][TOKENS] for _, options in conditioning if TOKENS in options.get("model_conds", {})
    )
