"""One load of a text encoder in a process of its own, and prompts through it; prints seconds and bytes as JSON.

    python benchmarks/load_text_encoder.py ours|transformers FOLDER [DTYPE]

FOLDER may be a single file. DTYPE is what ours computes in, by default what it takes by itself, and what transformers
is told (float16).
"""

import json
import sys
import time
from pathlib import Path

import torch
import transformers  # noqa: F401

REPO = Path(__file__).resolve().parents[1]


def memory(field):
    """Bytes of this process by Linux's account: VmRSS now, VmHWM at its highest."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def load_ours(folder, dtype=None):
    sys.path.insert(0, str(REPO))
    from ella_core.language_models.kinds import load_text_encoder

    return load_text_encoder(folder, dtype=dtype and getattr(torch, dtype)).model


def load_transformers(folder, dtype="float16"):
    from transformers import AutoModel, AutoTokenizer, T5EncoderModel

    if folder.endswith(".gguf"):
        where = {"pretrained_model_name_or_path": str(Path(folder).parent), "gguf_file": Path(folder).name}
    else:
        where = {"pretrained_model_name_or_path": folder}
    AutoTokenizer.from_pretrained(**where)
    config = Path(folder) / "config.json"
    is_t5 = config.is_file() and json.loads(config.read_text())["model_type"] == "t5"
    return (T5EncoderModel if is_t5 else AutoModel).from_pretrained(**where, dtype=getattr(torch, dtype))


def main(which, folder, *dtype):
    # Imports, which both need, are not what is measured.
    from transformers import PreTrainedTokenizerFast, T5EncoderModel  # noqa: F401

    before = memory("VmRSS")
    started = time.perf_counter()
    model = {"ours": load_ours, "transformers": load_transformers}[which](folder, *dtype)
    seconds = time.perf_counter() - started
    loaded = memory("VmHWM") - before
    token_ids = torch.arange(100, 228)[None]  # (1, 128)
    with torch.inference_mode():
        model(input_ids=token_ids, attention_mask=torch.ones_like(token_ids))
    print(json.dumps({"seconds": seconds, "loaded": loaded, "after a prompt": memory("VmHWM") - before}))


if __name__ == "__main__":
    main(*sys.argv[1:])
