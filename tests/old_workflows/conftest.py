"""The converter as plain Python sees it: the repository on sys.path, no ComfyUI."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
