"""Makes the folder of models that ComfyUI draws the small world with, out of what is stored narrow.

python -m small_world models --stored assets/small_world --out MODELS
"""

import hashlib
from pathlib import Path

import torch

from ella_core import load_connector, save_connector
from ella_core.errors import ELLAError

from .base_model import load_autoencoder, load_base
from .export import FILES
from .packaged_models import language_model
from .widen import save_checkpoint, widened_connector

CHECKPOINT = "checkpoints/small_world.safetensors"
CONNECTOR = "ella/small_world.safetensors"
LANGUAGE_MODELS = "ella_encoder"
MADE_FROM = "made_from.txt"  # the digest of what was stored; written last
TOKEN_WIDTH = 768  # of Stable Diffusion 1.5


def make_models(stored: Path, out: Path) -> bool:
    """Checkpoint and connector in Stable Diffusion 1.5's width and float16, and the language model as its package has
    it; False where they were made already of the same files.

    Raises:
        ELLAError: a file is missing or wrong, or the language model can't be downloaded.
    """
    missing = [name for name in FILES if not (stored / name).is_file()]
    if missing:
        raise ELLAError(f"{stored} lacks {' and '.join(missing)}; write it with: python -m small_world export.")
    language_model("minilm", out / LANGUAGE_MODELS)
    digest = hashlib.sha256(b"".join((stored / name).read_bytes() for name in FILES)).hexdigest()
    mark = out / MADE_FROM
    if mark.is_file() and mark.read_text() == digest:
        return False
    mark.unlink(missing_ok=True)
    for name in (CHECKPOINT, CONNECTOR):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out / CHECKPOINT, load_base(stored), load_autoencoder(stored), torch.float16)
    narrow = load_connector(stored / FILES[2])
    wide = widened_connector(narrow, TOKEN_WIDTH).half()
    wide.facts = narrow.facts
    save_connector(wide, out / CONNECTOR, base="sd15")
    mark.write_text(digest)
    return True
