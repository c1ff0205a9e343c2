"""ComfyUI's node API, imported here alone, and the type of ELLA's wires."""

from comfy_api.latest import ComfyAPI, ComfyExtension, io, ui

ELLA = io.Custom("ELLA")

__all__ = ["ELLA", "ComfyAPI", "ComfyExtension", "io", "ui"]
