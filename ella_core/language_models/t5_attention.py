"""T5's attention in the arithmetic that the connector was trained with: softmax in float32, then float16.

transformers computed it so in every version before 5.15. Newer ones dispatch attention by a name in the model's config
and have no such function: their default is scaled_dot_product_attention, and their eager one takes the softmax in
float16. Both give other text states, as far from the trained ones as float32 is.
"""

from __future__ import annotations

import torch

PINNED = "ella_t5"  # the name of this attention in transformers' table of attentions


def t5_attention(module, query, key, value, attention_mask, position_bias=None, **kwargs):
    """Attention of `query`, `key` and `value` (N, heads, T, dim) -> ((N, T, heads, dim), weights (N, heads, T, T)).

    `position_bias` (1, heads, T, T) and `attention_mask` (N, 1, T or 1, T), 0 or the dtype's minimum, are added to the
    scores, which T5 does not scale.
    """
    scores = torch.matmul(query, key.transpose(3, 2))  # (N, heads, T, T)
    scores += position_bias if attention_mask is None else position_bias + attention_mask
    weights = torch.softmax(scores.float(), dim=-1).type_as(scores)  # (N, heads, T, T)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def attention_name():
    """T5Config's `attn_implementation` in this transformers; registers `t5_attention` where that is needed."""
    from transformers.models.t5 import modeling_t5

    if not hasattr(modeling_t5, "ALL_ATTENTION_FUNCTIONS"):
        return "eager"  # the only one that T5 had, this very arithmetic
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface, eager_mask

    AttentionInterface.register(PINNED, t5_attention)
    AttentionMaskInterface.register(PINNED, eager_mask)
    return PINNED
