"""Apply ELLA: prompts and connector joined with a model."""

from __future__ import annotations

from .conditioning import apply_to_conditioning, check_text_states
from .sampler_patch import patch_model, remember_tokens


def apply_ella(model, ella, positive, negative=None, clip_positive=None, clip_negative=None):
    """MODEL, connector and prompts -> (patched MODEL, positive, negative).

    `positive` and `negative` are CONDITIONING of text states, `clip_positive` and `clip_negative` of CLIP tokens that
    are appended. Without `negative` the third result is `clip_negative`, which may be None. The given MODEL is not
    changed.
    Raises ELLAError where the model, the connector and the prompts don't fit each other.
    """
    model, connector = patch_model(model, ella)
    check_text_states(positive, "positive", ella)
    if negative is not None:
        check_text_states(negative, "negative", ella)
    positive = apply_to_conditioning(positive, ella, connector, clip_positive)
    remember_tokens(model, positive)
    if negative is None:
        return model, positive, clip_negative
    negative = apply_to_conditioning(negative, ella, connector, clip_negative)
    remember_tokens(model, negative)
    return model, positive, negative
