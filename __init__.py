"""ELLA for ComfyUI: a language model reads the prompt, a connector turns it into tokens for each denoising step."""

from .nodes.extension import comfy_entrypoint

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
