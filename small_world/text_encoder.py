"""The base's own text encoder: CLIP's text model with an eighth of its width and two layers, for the world's words.

It plays the part that CLIP has in Stable Diffusion 1.5: it is trained with the UNet on short captions, has 77 token
ids, and reads them from the left. Words that it never met have embeddings of zero.
"""

from functools import lru_cache
from pathlib import Path

import torch
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from training.host_base import host_module

from .narrow_unet import CONTEXT

LENGTH = 77
VOCABULARY = 49408
_WORDS = (
    "a an two three and in the at on of to more one four five six small large inside between left right above below "
    ", . top bottom middle upper lower row red green blue yellow purple black "
    "circle circles square squares triangle triangles cross crosses"
)


@lru_cache(maxsize=1)
def tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with the host's files."""
    return CLIPTokenizer.from_pretrained(Path(host_module("comfy.sd1_clip").__file__).with_name("sd1_tokenizer"))


@lru_cache(maxsize=1)
def known_ids() -> tuple[int, ...]:
    """The token ids of the world's words, start and end first."""
    ids = tokenizer()(_WORDS, add_special_tokens=False).input_ids
    return tuple(dict.fromkeys([tokenizer().bos_token_id, tokenizer().eos_token_id, *ids]))


def rows_of(prompts: list[str]) -> torch.Tensor:
    """(B, 77) rows of the narrow embedding; an id that the world does not know gets the last row, which stays zero.

    Padded with the end id, as the host pads for Stable Diffusion 1.5.
    """
    table = torch.full((VOCABULARY,), len(known_ids()))
    table[list(known_ids())] = torch.arange(len(known_ids()))
    ids = tokenizer()(prompts, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids
    return table[ids]


class WeakTextEncoder(nn.Module):
    """Rows of known words (B, 77) to context (B, 77, 96)."""

    def __init__(self):
        super().__init__()
        self.model = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(known_ids()) + 1,
                hidden_size=CONTEXT,
                intermediate_size=4 * CONTEXT,
                num_hidden_layers=2,
                num_attention_heads=12,
                max_position_embeddings=LENGTH,
                hidden_act="quick_gelu",
                pad_token_id=len(known_ids()),
                bos_token_id=0,
                eos_token_id=1,
            )
        )
        with torch.no_grad():
            self.model.get_input_embeddings().weight[-1] = 0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        # (B, 77) -> (B, 77, 96)
        return self.model(rows).last_hidden_state
