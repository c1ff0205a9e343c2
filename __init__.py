"""ELLA for ComfyUI: a language model reads the prompt, a connector turns it into tokens for each denoising step."""

from .nodes.host_version import check_host_version

check_host_version()  # before an import that an older host can't satisfy

from .nodes.extension import comfy_entrypoint  # noqa: E402

WEB_DIRECTORY = "./web"

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
