"""The frozen language model that reads the prompt: a T5 encoder computed entirely in float16.

The released connector was trained on FLAN-T5-XL states computed in float16. That model's activations overflow
float16 and transformers clamps them; the clamped states are what the connector knows, so neither float32 nor
bfloat16 may take their place, on any device.
"""

import torch

from ..errors import ELLAError, file_name
from .t5_attention import attention_name
from .t5_file import inspect_text_encoder, read_weights
from .tokenizer_file import END, PAD, load_tokenizer


class TextEncoder(torch.nn.Module):
    """transformers' T5EncoderModel in float16 with its tokenizer; its weights may be read later than its header.

    `text_dim` is the width of its text states; the tokenizer is called with a text and gives {"input_ids": [...]}.
    `identity` is that of the files, see `EncoderFiles.identity`: those whose weights were read, or will be;
    `sizes` are T5Config's arguments, as the files tell them.
    """

    def __init__(self, model, tokenizer, path, identity, sizes):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.text_dim = model.config.d_model
        self.path = path
        self.identity = identity
        self.sizes = sizes

    @property
    def has_weights(self):
        return self.device.type != "meta"

    @property
    def device(self):
        return self.model.shared.weight.device

    def read_weights(self):
        """Reads the weights where that has not happened yet.

        Raises ELLAError as `load_text_encoder` does, and for files that change meanwhile.
        """
        if self.has_weights:
            return
        files, headers, sizes = inspect_text_encoder(self.path)
        name, identity = file_name(self.path), files.identity()
        if sizes != self.sizes:
            raise ELLAError(f"{name} holds another model than when it was chosen; choose it again in the loader.")
        weights = read_weights(name, headers, sizes)
        if files.identity() != identity:
            raise ELLAError(
                f"{name} changed while it was read; wait until it is written or downloaded, then run again."
            )
        self.model.load_state_dict(weights, strict=True, assign=True)
        self.requires_grad_(False)
        self.identity = identity

    def token_ids(self, text, max_length=0):
        """Token ids of a text, the end token last; padded and truncated to `max_length` unless that is 0."""
        ids = self.tokenizer(text)["input_ids"]
        if max_length > 0:
            ids = ids[: max_length - 1] + [END] if len(ids) > max_length else ids
            ids = ids + [PAD] * (max_length - len(ids))
        return ids

    def read(self, token_ids):
        """Token ids (list of T) -> text states (1, T, text_dim) float16; padding is not read by other tokens."""
        ids = torch.tensor([token_ids], device=self.device)  # (1, T)
        mask = (ids != PAD).long()
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state  # (1, T, text_dim)

    @torch.inference_mode()
    def encode(self, text, max_length=0):
        """A prompt -> text states (1, T, text_dim) float16 on the model's device.

        `max_length` 0 is the flexible length: every token of the text and no padding. 128 pads and truncates as in
        the connector's training.
        """
        return self.read(self.token_ids(text, max_length))


def load_text_encoder(path, tokenizer=None):
    """The T5 encoder at `path` as a TextEncoder: a Hugging Face folder, or one .safetensors file.

    `tokenizer` is a tokenizer.json, a spiece.model, or a folder with a tokenizer.json, for weights that come without
    one. Decoder weights in the files are not read. Raises ELLAError for files that are missing, damaged or of another
    model, before any weight is read, and for weights that are not finite.
    """
    encoder = open_text_encoder(path, tokenizer)
    encoder.read_weights()
    return encoder


def open_text_encoder(path, tokenizer=None):
    """`load_text_encoder` without the weights, which `TextEncoder.read_weights` reads."""
    files, _, sizes = inspect_text_encoder(path)
    if files.tokenizer is None and tokenizer is None:
        raise ELLAError(
            f"{file_name(path)} comes without a tokenizer.json or spiece.model; put one beside it or give `tokenizer`."
        )
    tokenizer = load_tokenizer(files.tokenizer or tokenizer, sizes["vocab_size"])

    from transformers import T5Config, T5EncoderModel  # slow to import, so only when a text encoder is loaded

    with torch.device("meta"):
        model = T5EncoderModel(T5Config(**sizes, attn_implementation=attention_name())).half()
    return TextEncoder(model.eval(), tokenizer, path, files.identity(), sizes)
