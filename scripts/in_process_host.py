"""ComfyUI and the pack's core inside this process, for scripts, tests and benchmarks that need no server."""

import importlib.util
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def load_by_path(name, path):
    """A module, or a package by its __init__.py, under a name of its own, without its folder on sys.path."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def import_host(comfyui, cpu=True):
    """Makes ComfyUI's modules importable here, on the CPU or its GPU, and the pack's core as `ella_core`; returns that.

    Comes before any import of ComfyUI's: they choose their device when they are imported.
    """
    # The repository's root stays off the path: its nodes package would hide the host's nodes.py.
    sys.path.insert(0, str(comfyui))
    from comfy.cli_args import args

    args.cpu = cpu
    return load_by_path("ella_core", REPO / "ella_core/__init__.py")
