"""The colour of a thing by CLIP, as GenEval names it: ten colours, three sentences each, the nearest to the crop."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from ..scores.object_demands import COLORS
from .judge import fingerprint
from .model_folder import checked_folder, loaded

SENTENCES = ("a photo of a {color} {name}", "a photo of a {color}-colored {name}", "a photo of a {color} object")


class CropColor:
    """CLIP from `folder` (GenEval's is ViT-L/14). GenEval greys out what is not the thing; a box has no such mask."""

    def __init__(self, folder, device=None, dtype=None):
        from transformers import AutoProcessor, CLIPModel

        folder, _ = checked_folder(folder, "CLIP such as openai/clip-vit-large-patch14", ("clip",))
        self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
        self.model = loaded(CLIPModel, folder, device, dtype or torch.float32)
        self.described = f"{folder.name} {fingerprint(folder)}"
        self.texts = {}

    def of(self, crop, name):
        """The colour's name of a thing `name` that fills the PIL picture `crop`."""
        if name not in self.texts:
            self.texts[name] = self.color_texts(name)
        inputs = self.processor(images=crop, return_tensors="pt").to(self.model.device, self.model.dtype)
        seen = self.embedding(self.model.get_image_features(**inputs))  # (1, width)
        return COLORS[(seen @ self.texts[name].T).argmax().item()]

    def color_texts(self, name):
        """(10, width): of each colour the mean of its sentences' directions, of length 1."""
        sentences = [text.format(color=color, name=name) for color in COLORS for text in SENTENCES]
        inputs = self.processor(text=sentences, padding=True, return_tensors="pt").to(self.model.device)
        read = self.embedding(self.model.get_text_features(**inputs))  # (30, width)
        return normalize(read.view(len(COLORS), len(SENTENCES), -1).mean(1), dim=-1)

    @staticmethod
    def embedding(features):
        """Directions of length 1; transformers 5 wraps the features in an output."""
        return normalize(features if isinstance(features, torch.Tensor) else features.pooler_output, dim=-1)
