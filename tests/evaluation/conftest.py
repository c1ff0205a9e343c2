"""The evaluation's own tests; they load no ComfyUI, so the repository's root may be on the path."""

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
