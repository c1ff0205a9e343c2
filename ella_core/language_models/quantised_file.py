"""Quantised weights of a language model, read back to its dtype tensor by tensor: float8 safetensors and GGUF.

What was rounded stays rounded: the text states are close to the full model's, not equal to them.
"""

from __future__ import annotations

import math
import os

import torch
from safetensors import safe_open

from ..errors import ELLAError, file_name, quoted

GGUF = ".gguf"
FLOAT8 = ("F8_E4M3", "F8_E5M2")
# Where the factor of a float8 weight stands, and marks that say nothing a reader needs.
SCALES = (".scale_weight", ".weight_scale")
MARKS = ("scaled_fp8", ".comfy_quant", ".scale_input", ".input_scale")
READABLE = (*FLOAT8, "F16", "BF16", "F32", "I64", "I32")  # the integers number positions


# Cosine of the text states to those of the float16 model, by what the weights were rounded to, of a FLAN-T5-XL of
# random weights (benchmarks/quantised_states.py).
COSINES = {"F8_E4M3": 0.969, "Q8_0": 0.9995, "Q6_K": 0.994, "Q5_K": 0.977, "Q5_1": 0.978, "Q5_0": 0.971}
COSINES |= {"Q4_K": 0.914, "Q4_1": 0.915, "Q4_0": 0.898}
UNROUNDED = ("F32", "F16", "BF16")


def rounding(formats):
    """What is to be said of weights in these formats, "Q4_1 (cosine 0.915 ...)", or "" where none was rounded."""
    rounded = sorted({name for name in formats if name not in UNROUNDED and not name.startswith("I")})
    known = [COSINES[name] for name in rounded if name in COSINES]
    if not rounded:
        return ""
    cosine = f"cosine {min(known)} to the full model's on random weights" if known else "how near was not measured"
    return f"{', '.join(rounded)} ({cosine})"


def is_gguf(path):
    return os.fspath(path).lower().endswith(GGUF) and os.path.isfile(path)


def is_float8(headers):
    return any(dtype in FLOAT8 for header in headers for dtype in header.dtypes.values())


def is_factor(key):
    """Whether a tensor belongs to the quantisation of another one and is no weight of the model."""
    return key.endswith((*SCALES, *MARKS))


def check_float8(name, headers):
    """Raises ELLAError for weights of a kind that can't be read back: int8, 4 bits, or a scale for each block."""
    for header in headers:
        for key, dtype in header.dtypes.items():
            if key.endswith(SCALES):
                weight = next(key.removesuffix(ending) + ".weight" for ending in SCALES if key.endswith(ending))
                readable = header.dtypes.get(weight) in FLOAT8 and math.prod(header.shapes[key]) == 1
            else:
                readable = dtype in READABLE or is_factor(key)
            if not readable:
                raise ELLAError(
                    f"{name} is quantised in a way that is not read here ({quoted(key)} is {quoted(dtype)}); use a "
                    "float16, bfloat16, float8 or GGUF file of this language model."
                )


def stored_weights(headers, dtype, wanted=lambda key: True):
    """(name, weight in `dtype`) of each wanted tensor of safetensors files, mapped where it is stored so.

    A float8 weight is multiplied with its factor, where it has one.
    """
    for header in headers:
        with safe_open(header.path, "pt") as file:
            for key in header.shapes:
                if not wanted(key) or is_factor(key):
                    continue
                weight = file.get_tensor(key)
                if header.dtypes[key] in FLOAT8:
                    factors = [key.removesuffix(".weight") + ending for ending in SCALES]
                    factor = next((file.get_tensor(one) for one in factors if one in header.shapes), torch.ones(()))
                    weight = weight.to(torch.float32) * factor.to(torch.float32)
                yield key, weight.to(dtype)


def import_gguf():
    """The package gguf; raises ELLAError where it is not installed."""
    try:
        import gguf
    except ImportError as error:
        raise ELLAError(
            "GGUF files are read with the package gguf, which is not installed here; install it with pip install gguf "
            "in ComfyUI's Python."
        ) from error
    return gguf


def gguf_names(keys, architecture, depth):
    """{key: name in a GGUF file} of a model's `keys`; `architecture` is transformers' word for the model."""
    gguf = import_gguf()
    own = {word: name for name, word in gguf.MODEL_ARCH_NAMES.items()}
    names = gguf.get_tensor_name_map(own["t5encoder" if architecture == "t5" else architecture], depth)
    found = {}
    for key in keys:
        module, _, ending = key.rpartition(".")
        # Decoders are named as a part of their causal model there.
        found[key] = f"{names.get_name(module) or names.get_name(f'model.{module}')}.{ending}"
    return found


def gguf_weights(path, keys, architecture, depth, dtype):
    """{key: weight in `dtype`} of a GGUF file for a model's `keys`; `architecture` is transformers' word for the model.

    Raises ELLAError for a file that lacks one of them, naming it.
    """
    gguf = import_gguf()
    reader = gguf.GGUFReader(path)
    stored = {tensor.name: tensor for tensor in reader.tensors}
    heads = head_counts(reader, str(reader.fields["general.architecture"].contents()))
    weights = {}
    for key, name in gguf_names(keys, architecture, depth).items():
        if name not in stored:
            raise lacking(path, key)
        tensor = stored[name]
        weight = torch.from_numpy(gguf.dequantize(tensor.data, tensor.tensor_type).copy()).to(dtype)
        module = key.rpartition(".")[0]
        if architecture == "llama" and module.endswith(("q_proj", "k_proj")):
            weight = of_separate_halves(weight, heads[module.endswith("k_proj")])
        weights[key] = weight
    return weights


def lacking(path, key):
    return ELLAError(f"{file_name(path)} lacks {quoted(key)}; download it again or choose another file.")


def head_counts(reader, architecture):
    """Numbers of attention heads of queries and of keys that a GGUF file states."""
    queries = reader.fields.get(f"{architecture}.attention.head_count")
    keys = reader.fields.get(f"{architecture}.attention.head_count_kv", queries)
    return [None if field is None else int(field.contents()) for field in (queries, keys)]


def of_separate_halves(weight, heads):
    """A projection put back in order, whose rows alternate between the halves of each head in GGUF."""
    return weight.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
