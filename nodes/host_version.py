"""The oldest ComfyUI that the pack works with."""

import re

OLDEST = "0.18.2"


def check_host_version():
    """Raises ImportError, which the host reports beside the pack's name, where the host is older than OLDEST."""
    try:
        from comfyui_version import __version__ as found
    except ImportError:  # ComfyUI did not always have that module
        raise ImportError(message("this one is too old to state its version")) from None
    # A version that can't be read is let through: it says nothing of the host's age.
    if (numbers(found) or numbers(OLDEST)) < numbers(OLDEST):
        raise ImportError(message(f"this is {found}"))


def message(found):
    return f"ELLA needs ComfyUI {OLDEST} or newer, and {found}; update ComfyUI."


def numbers(version):
    """(0, 31, 0) for "0.31.0-dev", () for a word without numbers."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
