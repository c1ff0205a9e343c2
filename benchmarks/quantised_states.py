"""Cosine of the text states of rounded weights to those of float16 ones, for each format of quantised files.

    python benchmarks/quantised_states.py [--depth 24]

The weights are rounded as the format stores them and read back, and the encoder computes in float16 as always: a T5 of
FLAN-T5-XL's sizes with random weights, and that of tests/data/t5_overflow, whose activations leave float16's range as
those of FLAN-T5-XL do; its rows of 32 are too short for K-quants. The package gguf writes GGUF's plain formats. The
K-quants, which it only reads, are rounded here on their grid to the nearest; llama.cpp searches for scales that fit
better.
"""

import argparse
import sys
from pathlib import Path

import gguf
import torch
from safetensors.torch import load_file
from transformers import T5Config, T5EncoderModel

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))
from ella_core.language_models.kinds import inspect_text_encoder  # noqa: E402
from ella_core.language_models.t5_attention import attention_name  # noqa: E402

FORMATS = ("bfloat16", "float8_e4m3fn", "float8_e4m3fn scaled", "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1")
FORMATS += ("Q4_0",)
LENGTH = 40


def rounded(weight, name):
    """A matrix (rows, columns) as it is read back from a file of this format, in float16."""
    if name == "bfloat16":
        return weight.to(torch.bfloat16).half()
    if name.startswith("float8"):
        factor = weight.float().abs().max() / 448 if name.endswith("scaled") else torch.ones(())
        return ((weight.float() / factor).to(torch.float8_e4m3fn).float() * factor).half()
    if name.endswith("_K"):
        return on_k_grid(weight.float(), int(name[1])).reshape(weight.shape).half()
    kind = gguf.GGMLQuantizationType[name]
    return torch.from_numpy(gguf.dequantize(gguf.quantize(weight.float().numpy(), kind), kind)).half()


def on_k_grid(weight, bits):
    """Values of a K-quant: 256 numbers share float16 scales, and parts of them small whole multiples of those."""
    if bits == 6:  # parts of 16, from -32 to 31 times a scale of 8 bits
        parts = weight.reshape(-1, 16, 16)
        scales = parts.abs().amax(dim=-1, keepdim=True) / 31
        shared = (scales.amax(dim=1, keepdim=True) / 127).half().float().clamp_min(1e-8)
        step = shared * (scales / shared).round()
        return step * (parts / step.clamp_min(1e-12)).round().clamp(-32, 31)
    parts = weight.reshape(-1, 8, 32)  # parts of 32, from a least value on; scale and least value of 6 bits each
    least = -parts.amin(dim=-1, keepdim=True).clamp_max(0)
    scales = (parts.amax(dim=-1, keepdim=True) + least) / (2**bits - 1)
    shared, shared_least = (
        (one.amax(dim=1, keepdim=True) / 63).half().float().clamp_min(1e-8) for one in (scales, least)
    )
    step, least = shared * (scales / shared).round(), shared_least * (least / shared_least).round()
    return step * ((parts + least) / step.clamp_min(1e-12)).round().clamp(0, 2**bits - 1) - least


def states_of(model, ids):
    with torch.inference_mode():
        return model(input_ids=ids).last_hidden_state.double().flatten()


def cosines(model, ids):
    """{format: cosine of the text states}; the model's matrices are put back after each."""
    full = states_of(model, ids)
    matrices = {
        key: weight for key, weight in model.named_parameters() if weight.ndim == 2 and weight.shape[1] % 32 == 0
    }
    kept = {key: weight.detach().clone() for key, weight in matrices.items()}
    found = {}
    for name in FORMATS if model.config.d_model % 256 == 0 else (one for one in FORMATS if not one.endswith("_K")):
        for key, weight in matrices.items():
            weight.data.copy_(rounded(kept[key], name))
        found[name] = torch.nn.functional.cosine_similarity(states_of(model, ids), full, dim=0).item()
        print(f"{name:22} {found[name]:.6f}", flush=True)
    return found


def random_xl(depth):
    """A T5 of FLAN-T5-XL's sizes, initialised as transformers does."""
    torch.manual_seed(0)
    sizes = {"d_model": 2048, "d_ff": 5120, "d_kv": 64, "num_heads": 32, "num_layers": depth, "vocab_size": 32128}
    config = T5Config(**sizes, feed_forward_proj="gated-gelu", attn_implementation=attention_name())
    return T5EncoderModel(config).half().eval()


def overflowing():
    """The T5 of tests/data/t5_overflow and the token ids of its prompt."""
    found = inspect_text_encoder(REPO / "tests/data/t5_overflow/model.safetensors")
    model = found.with_weights(found.skeleton(torch.float16), torch.float16).eval()
    return model, load_file(REPO / "tests/data/t5_overflow/expected.safetensors")["ids.prompt.flexible"][None]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--depth", type=int, default=24, help="blocks of the large encoder")
    options = parser.parse_args()
    print("t5_overflow")
    cosines(*overflowing())
    print("random FLAN-T5-XL")
    torch.manual_seed(1)
    cosines(random_xl(options.depth), torch.randint(3, 32000, (1, LENGTH)))
