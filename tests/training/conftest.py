"""The training's own tests. The repository's root is on the path behind ComfyUI, as `python -m training` has it."""

import os
import signal
import sys
from pathlib import Path

import torch

REPO = Path(__file__).resolve().parents[2]
if "COMFYUI" in os.environ:
    sys.path.insert(0, os.environ["COMFYUI"])  # its nodes.py comes before the folder nodes/ here
sys.path.append(str(REPO))
# A shell lets what it runs in the background ignore the interrupt, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.set_num_threads(1)  # the tensors here are tiny, and threads cost more than they save
