"""Which language model files hold, and its TextEncoder."""

import torch

from ..json_file import read_json
from ..safetensors_file import read_header
from .auto_model import AutoTextModel
from .encoder_files import find_encoder_files
from .gguf_model import GGUFModel
from .quantised_file import is_gguf
from .t5 import T5
from .text_encoder import TextEncoder


def inspect_text_encoder(path):
    """The LanguageModel at `path`, without reading a weight.

    It is a Hugging Face folder, one .safetensors file of a T5, or one .gguf file.

    Raises ELLAError for files that are missing, damaged or of other names or shapes, and OtherModelError for a sound
    model that is none for text.
    """
    files = find_encoder_files(path)
    if is_gguf(path):
        return GGUFModel(path, files)
    headers = [read_header(weights) for weights in files.weights]
    config = {} if files.config is None else read_json(files.config)
    kind = T5 if files.config is None or config.get("model_type") == "t5" else AutoTextModel
    return kind(path, files, headers, config)


def open_text_encoder(path, tokenizer=None, dtype=None):
    """`load_text_encoder` without the weights, which `TextEncoder.read_weights` reads."""
    language_model = inspect_text_encoder(path)
    dtype = dtype or language_model.trained_dtype or torch.float32
    return TextEncoder(language_model, dtype, inspect_text_encoder, tokenizer)


def load_text_encoder(path, tokenizer=None, dtype=None):
    """The language model at `path` as a TextEncoder.

    `tokenizer` is where one lies for T5 weights that come without: a tokenizer.json, a spiece.model, or a folder with a
    tokenizer.json. `dtype` is what it computes in; unless given, T5 takes float16, as its connectors were trained, and
    others float32. Raises ELLAError as `inspect_text_encoder` does, and for weights that are not finite.
    """
    encoder = open_text_encoder(path, tokenizer, dtype)
    encoder.read_weights()
    return encoder
