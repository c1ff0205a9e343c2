"""CLIP's cosine of a picture and a text, unscaled, as T2I-CompBench scores its non-spatial prompts (ViT-B/32)."""

from __future__ import annotations

import torch

from ..suites.suite import MATCH
from .judge import Identity, Judge, dtype_name, fingerprint
from .model_folder import checked_folder, loaded


class ClipCosine(Judge):
    """CLIP from `folder`; `device` and `dtype` as in `loaded`. It reads 77 tokens and cuts what is beyond."""

    name = "clip"
    kinds = (MATCH,)

    def __init__(self, folder, device=None, dtype=None):
        from transformers import AutoProcessor, CLIPModel

        folder, _ = checked_folder(folder, "CLIP such as openai/clip-vit-base-patch32", ("clip",))
        self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self.model = loaded(CLIPModel, folder, device, dtype or torch.float32)
        self.most_tokens = self.model.config.text_config.max_position_embeddings
        self.identity = Identity(
            judge=self.name,
            model=folder.name,
            fingerprint=fingerprint(folder),
            template="{text}",
            settings={"tokens": self.most_tokens, "dtype": dtype_name(self.model.dtype)},
        )

    @torch.inference_mode()
    def answer(self, pictures, questions):
        """[(cosine in figures, cosine)]; a cosine is no probability, it lies around 0.3."""
        inputs = self.processor(
            images=list(pictures),
            text=[question.text for question in questions],
            padding=True,
            truncation=True,
            max_length=self.most_tokens,
            return_tensors="pt",
        ).to(self.model.device)
        output = self.model(**inputs)
        cosines = torch.nn.functional.cosine_similarity(output.image_embeds, output.text_embeds).tolist()  # (B,)
        return [(f"{cosine:.4f}", cosine) for cosine in cosines]
