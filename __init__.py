"""ELLA for ComfyUI: a language model reads the prompt, a connector turns it into tokens for each denoising step."""

from .nodes.extension import comfy_entrypoint

__all__ = ["comfy_entrypoint"]
