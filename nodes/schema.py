"""ComfyUI's node API, imported here alone, the type of ELLA's wires, and the input that several nodes have."""

from comfy_api.latest import ComfyAPI, ComfyExtension, io, ui

ELLA = io.Custom("ELLA")


def max_length_input():
    """The input max_length of each node that takes a prompt."""
    return io.Int.Input(
        "max_length",
        default=0,
        min=0,
        max=4096,
        tooltip="Number of tokens that are read. 0 takes as many as the prompt has; 128 cuts and pads to 128 as in "
        "ELLA's training.",
    )


__all__ = ["ELLA", "ComfyAPI", "ComfyExtension", "io", "max_length_input", "ui"]
