"""The one interface of the frozen language models that read a prompt, whatever they are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from ..errors import ELLAError, file_name

PADDING = -1  # the token id that stands for padding where a model has none of its own


@dataclass(frozen=True)
class AddedTokens:
    """What a tokenizer puts around a text, `start` and `end`, and the token id of padding, which no token reads."""

    start: tuple[int, ...] = ()
    end: tuple[int, ...] = ()
    padding: int = PADDING

    @classmethod
    def of(cls, tokenizer):
        """Those of a transformers tokenizer, seen in what it makes of an empty text and of a word."""
        empty, word = tokenizer("")["input_ids"], tokenizer("a")["input_ids"]
        before = next((place for place, (one, other) in enumerate(zip(empty, word)) if one != other), len(empty))
        return cls(tuple(empty[:before]), tuple(empty[before:]))


class LanguageModel(ABC):
    """What the files at `path` hold, told by their headers, and how they become a network.

    `architecture` is transformers' word for it ("t5", "bert", "llama"), `text_dim` the width of its last hidden states,
    `depth` the number of its blocks, `sizes` all that its network is built from, `trained_dtype` the torch dtype that
    every connector for it is trained with, None where that differs.
    """

    trained_dtype = None

    def __init__(self, path, files, headers, architecture, text_dim, depth, sizes):
        self.path = path
        self.files = files
        self.headers = headers
        self.architecture = architecture
        self.text_dim = text_dim
        self.depth = depth
        self.sizes = sizes

    @property
    def formats(self):
        """What the files' weights are stored as, "F16", "Q4_1" and so on."""
        return sorted({dtype for header in self.headers for dtype in header.dtypes.values()})

    @abstractmethod
    def load_tokenizer(self, fallback=None):
        """(tokenizer, AddedTokens); `fallback` is where a tokenizer lies for files that come without one."""

    @abstractmethod
    def skeleton(self, dtype):
        """The network without weights, on the meta device."""

    @abstractmethod
    def with_weights(self, skeleton, dtype):
        """A network of this skeleton with the files' weights, mapped where they are stored in `dtype`."""


class TextEncoder(torch.nn.Module):
    """A language model with its tokenizer: a prompt becomes its last hidden states, the text states.

    `architecture`, `layer`, `text_dim` and `dtype` say what it is. Its weights may be read later than its header;
    `identity` is that of the files, see `EncoderFiles.identity`: those whose weights were read, or will be. The
    tokenizer is called with a text and gives {"input_ids": [...]}.
    """

    layer = "last"  # whose hidden states are the text states

    def __init__(self, language_model, dtype, inspect, fallback=None):
        super().__init__()
        self.language_model = language_model
        self.inspect = inspect  # gives the LanguageModel at a path anew
        self.identity = language_model.files.identity()
        self.architecture = language_model.architecture
        self.text_dim = language_model.text_dim
        self.dtype = dtype
        self.tokenizer, self.added = language_model.load_tokenizer(fallback)
        self.model = language_model.skeleton(dtype).eval()

    @property
    def has_weights(self):
        return self.device.type != "meta"

    @property
    def device(self):
        return self.model.get_input_embeddings().weight.device

    def read_weights(self):
        """Reads the weights where that has not happened yet.

        Raises ELLAError as `load_text_encoder` does, and for files that change meanwhile.
        """
        if self.has_weights:
            return
        found = self.inspect(self.language_model.path)
        name, identity = file_name(found.path), found.files.identity()
        if (found.architecture, found.sizes) != (self.architecture, self.language_model.sizes):
            raise ELLAError(f"{name} holds another model than when it was chosen; choose it again in the loader.")
        model = found.with_weights(self.model, self.dtype)
        if found.files.identity() != identity:
            raise ELLAError(
                f"{name} changed while it was read; wait until it is written or downloaded, then run again."
            )
        self.model = model.requires_grad_(False).eval()
        self.identity = identity

    def token_ids(self, text, max_length=0):
        """Token ids of a text, with what the tokenizer adds; cut and padded to `max_length` unless that is 0.

        What the tokenizer puts at the end stays there when the text is cut, padding comes after it. Of an empty text
        without added tokens one padding is read, so that there always are text states.
        """
        ids = self.tokenizer(text)["input_ids"] or [self.added.padding]
        return ids if max_length == 0 else fit_length(ids, max_length, self.added)

    def read(self, token_ids):
        """Token ids (list of T) -> text states (1, T, text_dim); padding is read by no other token.

        A model that reads from left to right keeps its own mask: a token reads those before it.
        """
        ids = torch.tensor([token_ids], device=self.device)  # (1, T)
        mask = ids != self.added.padding
        mask[:, 0] = True  # an empty text: there is nothing but padding to read
        ids = ids.where(ids != PADDING, 0)
        return self.model(input_ids=ids, attention_mask=mask.long()).last_hidden_state  # (1, T, text_dim)

    @torch.inference_mode()
    def encode(self, text, max_length=0):
        """A prompt -> text states (1, T, text_dim) in the model's dtype, on its device.

        `max_length` 0 is the flexible length: every token of the text and no padding. 128 pads and truncates as in
        the released connector's training.
        """
        return self.read(self.token_ids(text, max_length))


def fit_length(items, length, added, padding=None):
    """One item for each token id, cut or padded to `length`; what the tokenizer added at the end stays last.

    `padding` is the item of a padding, its token id unless given.
    """
    if len(items) > length:
        kept = min(len(added.end), length)
        items = items[: length - kept] + items[len(items) - kept :]
    return items + [added.padding if padding is None else padding] * (length - len(items))
