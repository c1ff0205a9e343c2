"""Object detection by transformers for where things are and how many: T2I-CompBench's spatial prompts, and GenEval.

It is not UniDet (T2I-CompBench) nor Mask2Former (GenEval), so its numbers stand beside no published ones. Detectors
with a fixed list of names (DETR, RT-DETR) know COCO's 80; OWL-ViT and OWLv2 are told what to look for and know any.
"""

from __future__ import annotations

import torch

from ..errors import EvaluationError
from ..scores.object_demands import meets_demands
from ..scores.spatial_relation import Detection, spatial_score
from ..suites.suite import OBJECTS, SPATIAL
from .crop_color import CropColor
from .judge import Identity, Judge, dtype_name, fingerprint
from .model_folder import checked_folder, loaded

LABEL = "not UniDet / Mask2Former of the paper"
TOLD = ("owlvit", "owlv2")
LOWEST = 0.05  # confidences below are noise to both rules
# One thing under the names of GenEval, T2I-CompBench, and of COCO as different detectors spell it.
SAME = (
    {"person", "girl", "boy", "man", "woman"},
    {"mouse", "computer mouse"},
    {"remote", "tv remote"},
    {"keyboard", "computer keyboard"},
    {"airplane", "aeroplane"},
    {"motorcycle", "motorbike"},
    {"couch", "sofa"},
    {"tv", "tvmonitor"},
    {"potted plant", "pottedplant"},
    {"dining table", "diningtable"},
)


class Detector(Judge):
    """The detector in `folder`; `color_folder` holds the CLIP that names the colours of what it found."""

    name = "detector"
    kinds = (SPATIAL, OBJECTS)

    def __init__(self, folder, device=None, dtype=None, color_folder=None):
        from transformers import (
            AutoImageProcessor,
            AutoModelForObjectDetection,
            AutoModelForZeroShotObjectDetection,
            AutoProcessor,
        )

        folder, model_type = checked_folder(folder, "an object detector such as RT-DETR or OWLv2")
        self.told = model_type in TOLD
        if self.told:
            self.processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
            self.model = loaded(AutoModelForZeroShotObjectDetection, folder, device, dtype or torch.float32)
        else:
            self.processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            self.model = loaded(AutoModelForObjectDetection, folder, device, dtype or torch.float32)
        self.color = CropColor(color_folder, device, dtype) if color_folder else None
        self.identity = Identity(
            judge=self.name,
            model=folder.name,
            fingerprint=fingerprint(folder),
            template="a photo of a {name}" if self.told else "",
            settings={
                "note": LABEL,
                "dtype": dtype_name(self.model.dtype),
                "lowest confidence": LOWEST,
                "colours named by": self.color.described if self.color else "nothing",
            },
        )

    @torch.inference_mode()
    def answer(self, pictures, questions):
        """[(what was found, score)]: T2I-CompBench's spatial score 0..1, or GenEval's 1.0 (all demands met) or 0.0."""
        return [self.verdict(picture, question) for picture, question in zip(pictures, questions, strict=True)]

    def verdict(self, picture, question):
        """As `answer`, of one picture and question."""
        details = question.details
        if question.kind == SPATIAL:
            found = self.detections(picture, details["objects"])
            best = {one.label: one.confidence for one in reversed(found)}
            said = [f"{name} {best[name]:.2f}" if name in best else f"no {name}" for name in details["objects"]]
            return ", ".join(said), spatial_score(details["objects"], details["relation"], found)
        names = [demand["class"] for demand in [*details["include"], *details.get("exclude", ())]]
        met, why = meets_demands(details, self.detections(picture, names), lambda one: self.color_of(picture, one))
        return ("yes", 1.0) if met else (f"no: {why}", 0.0)

    def detections(self, picture, names):
        """Every Detection of the named things in a picture, the surest first, under the names that were asked for."""
        names = sorted(set(names))
        if not names:
            return []
        if self.told:
            inputs = self.processor(
                text=[[f"a photo of a {name}" for name in names]], images=[picture], return_tensors="pt"
            )
            post_process = self.processor.post_process_grounded_object_detection
            sought = {number: [name] for number, name in enumerate(names)}
        else:
            inputs = self.processor(images=[picture], return_tensors="pt")
            post_process = self.processor.post_process_object_detection
            sought = self.labels_of(names)
        output = self.model(**inputs.to(self.model.device, self.model.dtype))
        (found,) = post_process(output, threshold=LOWEST, target_sizes=[picture.size[::-1]])
        rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist(), strict=True)
        found = [
            Detection(name, confidence, tuple(box)) for label, confidence, box in rows for name in sought.get(label, ())
        ]
        return sorted(found, key=lambda one: -one.confidence)

    def labels_of(self, names):
        """{label id: the names that it answers to}; EvaluationError where the detector knows no such thing."""
        sought = {}
        for name in names:
            spellings = next((same for same in SAME if name in same), {name})
            ids = [label for label, known in self.model.config.id2label.items() if known.lower() in spellings]
            if not ids:
                raise EvaluationError(
                    f"the detector {self.identity.model} knows no {name!r}; take one that is told what to look for, "
                    "such as OWLv2."
                )
            for label in ids:
                sought.setdefault(label, []).append(name)
        return sought

    def color_of(self, picture, detection):
        """The name of the colour of what is in a detection's box."""
        if self.color is None:
            raise EvaluationError(
                "the suite asks for colours, which a detector doesn't see; give --color-model the folder of a CLIP "
                "such as openai/clip-vit-large-patch14."
            )
        return self.color.of(picture.crop(pixels_in(detection.box, picture.size)), detection.label)


def pixels_in(box, size):
    """A box in whole pixels within a picture of `size` (width, height), at least one pixel each way."""
    left, top = (min(max(int(edge), 0), length - 1) for edge, length in zip(box[:2], size, strict=True))
    right, bottom = (min(max(round(edge), 0), length) for edge, length in zip(box[2:], size, strict=True))
    return left, top, max(right, left + 1), max(bottom, top + 1)
