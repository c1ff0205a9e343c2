"""T5's encoder, the language model of the released connector, computed entirely in float16.

The released connector was trained on FLAN-T5-XL states computed in float16. That model's activations overflow
float16 and transformers clamps them; the clamped states are what the connector knows, so neither float32 nor
bfloat16 may take their place, on any device.
"""

import torch

from ..errors import ELLAError, file_name
from .t5_attention import attention_name
from .t5_file import read_sizes_of, read_weights
from .text_encoder import AddedTokens, LanguageModel
from .tokenizer_file import END, PAD, load_tokenizer


class T5(LanguageModel):
    """A Hugging Face folder with a T5, or one .safetensors file; decoder weights in the files are not read."""

    trained_dtype = torch.float16

    def __init__(self, path, files, headers, config):
        sizes = read_sizes_of(path, files, headers, config)
        super().__init__(path, files, headers, "t5", sizes["d_model"], sizes["num_layers"], sizes)

    def load_tokenizer(self, fallback=None):
        """See LanguageModel; `fallback` is a tokenizer.json, a spiece.model, or a folder with a tokenizer.json."""
        if self.files.tokenizer is None and fallback is None:
            raise ELLAError(
                f"{file_name(self.path)} comes without a tokenizer.json or spiece.model; put one beside it or give "
                "`tokenizer`."
            )
        tokenizer = load_tokenizer(self.files.tokenizer or fallback, self.sizes["vocab_size"])
        return tokenizer, AddedTokens(end=(END,), padding=PAD)

    def skeleton(self, dtype):
        from transformers import T5Config, T5EncoderModel  # slow to import, so only when a text encoder is loaded

        with torch.device("meta"):
            return T5EncoderModel(T5Config(**self.sizes, attn_implementation=attention_name())).to(dtype)

    def with_weights(self, skeleton, dtype):
        """See LanguageModel; in `dtype` throughout, `wo` too."""
        weights = read_weights(file_name(self.path), self.headers, self.sizes, dtype)
        skeleton.load_state_dict(weights, strict=True, assign=True)
        return skeleton
