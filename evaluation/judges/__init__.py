"""Which judges there are: a row each, under the name that --judge gives."""

from __future__ import annotations

import importlib

JUDGES = {
    "blip-vqa": ("blip_vqa", "BlipVqa"),
    "vlm": ("vlm", "VisionLanguageModel"),
    "mplug": ("mplug", "Mplug"),
    "clip": ("clip", "ClipCosine"),
    "detector": ("detector", "Detector"),
}


def judge_class(name):
    """The class of a judge; its libraries are imported only now."""
    module, class_name = JUDGES[name]
    return getattr(importlib.import_module(f".{module}", __name__), class_name)
