"""The text encoder as a host CLIP object: every node that takes a CLIP works with it, prompt weights included."""

import os
import re
import weakref
from types import SimpleNamespace

import comfy.sd
import comfy.sd1_clip
import comfy.text_encoders
import torch

from ..errors import ELLAError
from ..language_models.encoder_files import find_encoder_files
from ..language_models.t5 import END, PAD, load_text_encoder
from ..prompts.prompt_words import Piece
from .conditioning import text_states_mark

NAME = "t5xl"
LOADED = weakref.WeakValueDictionary()  # CLIPs in use, by the identity of their files
EMBEDDING_WORD = re.compile(r"(?:^|(?<=[\s(,]))embedding:\S+")


class T5Tokenizer(comfy.sd1_clip.SDTokenizer):
    """The host's weight syntax over the text encoder's own tokenizer; any length, no start token."""

    def __init__(self, tokenizer):
        super().__init__(
            tokenizer_class=SimpleNamespace(from_pretrained=lambda path: tokenizer),
            max_length=99999999,
            min_length=1,
            pad_to_max_length=False,
            pad_with_end=False,
            pad_token=PAD,
            has_start_token=False,
            embedding_key=NAME,
        )


class ELLATokenizer(comfy.sd1_clip.SD1Tokenizer):
    """What a host CLIP calls to tokenize: adds the token length and keeps textual embeddings away from T5."""

    def __init__(self, tokenizer):
        super().__init__(name=NAME, tokenizer=lambda **_: T5Tokenizer(tokenizer))

    def tokenize_with_weights(self, text, return_word_ids=False, max_length=0, **kwargs):
        """Prompt -> {"t5xl": [[(token id, weight), ...]]}; `max_length` 0 is the flexible length."""
        embedding = EMBEDDING_WORD.search(text)
        if embedding:
            raise ELLAError(
                f"The prompt for T5 contains {embedding.group()}, and textual embeddings belong to CLIP; write it in a "
                "CLIP Text Encode and wire that to clip_positive or clip_negative of Apply ELLA."
            )
        tokens = super().tokenize_with_weights(text, return_word_ids, **kwargs)
        if max_length > 0:
            tokens[NAME] = [fit_length(section, max_length) for section in tokens[NAME]]
        return tokens


def fit_length(section, length):
    """Cuts or pads a list of (token id, weight, ...) to `length`, the end token kept last as transformers does."""
    if len(section) > length:
        section = section[: length - 1] + section[-1:]
    padding = (PAD, 1.0, 0)[: len(section[0])]
    return section + [padding] * (length - len(section))


class T5WeightedEncoder(torch.nn.Module, comfy.sd1_clip.ClipTokenWeightEncoder):
    """The core's text encoder under the host's rule for prompt weights."""

    special_tokens = {"end": END, "pad": PAD}

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.execution_device = None

    def encode(self, tokens):
        # On a small GPU the host may have loaded a part only, and transformers' layers don't fetch the rest themselves.
        if len({weight.device for weight in self.encoder.parameters()}) > 1:
            self.encoder.to(self.execution_device)
        # One by one, so that a prompt's own states never depend on what else is in the batch.
        states = torch.cat([self.encoder.read(ids) for ids in tokens])  # (sections, T, text_dim) float16
        return states, torch.zeros(1, self.encoder.text_dim)

    def set_clip_options(self, options):
        self.execution_device = options.get("execution_device", self.execution_device)
        if options.get("layer") is not None:
            raise ELLAError(
                "CLIP Set Last Layer is wired to ELLA's text encoder, and the connector only knows the last layer; "
                "wire it to the checkpoint's CLIP instead."
            )

    def reset_clip_options(self):
        pass

    def load_sd(self, sd):
        raise ELLAError("Weights can't be loaded into ELLA's text encoder; choose the file in Load ELLA Text Encoder.")


class ELLATextEncoderModel(comfy.sd1_clip.SD1ClipModel):
    """What a host CLIP holds: float16 whatever the host's flags, moved whole because its layers are transformers'."""

    disable_offload = True

    def __init__(self, encoder, device="cpu", dtype=None, model_options={}):
        super().__init__(
            name=NAME, clip_model=lambda **_: T5WeightedEncoder(encoder), device=device, dtype=torch.float16
        )
        self.to(device)

    def encode_token_weights(self, token_weight_pairs):
        states, pooled = super().encode_token_weights(token_weight_pairs)
        return states, pooled, text_states_mark()


def load_clip(path):
    """Host CLIP of the text encoder at `path`, see `load_text_encoder`; the host's T5 tokenizer where it has none.

    As long as a CLIP of the same files is in use, its weights are shared.
    """
    identity = find_encoder_files(path).identity()
    clip = LOADED.get(identity)
    if clip is not None:
        return clip.clone()
    LOADED[identity] = clip = new_clip(path)
    return clip


def new_clip(path):
    """Host CLIP of the text encoder at `path` with weights of its own."""
    host_tokenizer = os.path.join(os.path.dirname(comfy.text_encoders.__path__[0]), "text_encoders", "t5_tokenizer")
    encoder = load_text_encoder(path, tokenizer=host_tokenizer)
    target = SimpleNamespace(
        params={},
        clip=lambda device, dtype, model_options: ELLATextEncoderModel(encoder, device),
        tokenizer=lambda **_: ELLATokenizer(encoder.tokenizer),
    )
    clip = comfy.sd.CLIP(target, parameters=sum(weight.numel() for weight in encoder.parameters()))
    clip.patcher.cached_patcher_init = (new_patcher, (path,))
    return clip


def new_patcher(path, disable_dynamic=False):
    """A fresh ModelPatcher of the same text encoder, for the host; it is never a dynamic one."""
    return new_clip(path).patcher


def check_clip(clip, node):
    """Raises ELLAError for a CLIP that is not ELLA's text encoder; `node` is the name of the node that got it."""
    if not isinstance(clip.tokenizer, ELLATokenizer):
        raise ELLAError(
            f"{node} got a CLIP ({type(clip.cond_stage_model).__name__}) where ELLA's text encoder is expected; wire "
            "it from Load ELLA Text Encoder."
        )


def read_prompt(clip, text, max_length=0):
    """Prompt -> CONDITIONING of text states, one entry (1, T, text_dim); `max_length` as in `TextEncoder.encode`.

    Raises ELLAError for a CLIP that is not ELLA's text encoder.
    """
    check_clip(clip, "ELLA Text Encode")
    return clip.encode_from_tokens_scheduled(clip.tokenize(text, max_length=max_length))


def prompt_pieces(clip, text, max_length, node):
    """Prompt -> its token ids as a list of Piece, with its weights; `node` as in `check_clip`."""
    check_clip(clip, node)
    (section,) = clip.tokenize(text, max_length=max_length)[NAME]
    return [
        Piece(token_id, text, weight, is_end=token_id == END)
        for (token_id, weight), text in clip.tokenizer.untokenize(section)
    ]
