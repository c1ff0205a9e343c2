"""The small world's own tests, with the root behind ComfyUI on the path, as `python -m small_world` has it."""

import os
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
if "COMFYUI" in os.environ:
    sys.path.insert(0, os.environ["COMFYUI"])  # its nodes.py comes before the folder nodes/ here
sys.path.append(str(REPO))
