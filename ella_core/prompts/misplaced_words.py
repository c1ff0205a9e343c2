"""Words of a prompt that are meant for another part of the graph, which a language model would read as mere text."""

from __future__ import annotations

import re

from ..errors import ELLAError

EMBEDDING = re.compile(r"(?:^|(?<=[\s(,]))embedding:\S+")
LORA = re.compile(r"<\s*(?:lora|lyco|locon)\s*:[^>]*>", re.IGNORECASE)


def check_words(text):
    """Raises ELLAError for a textual embedding or a LoRA's tag in the prompt of a language model."""
    embedding = EMBEDDING.search(text)
    if embedding:
        raise ELLAError(
            f"The prompt for T5 contains {embedding.group()}, and textual embeddings belong to CLIP; write it in a "
            "CLIP Text Encode and wire that to clip_positive or clip_negative of Apply ELLA."
        )
    lora = LORA.search(text)
    if lora:
        raise ELLAError(
            f"The prompt for T5 contains {lora.group()}, and LoRAs belong to the model; load it with a Load LoRA "
            "before Apply ELLA, and write its trigger words in a CLIP Text Encode on clip_positive."
        )
