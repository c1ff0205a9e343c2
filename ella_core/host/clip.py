"""The text encoder as a host CLIP object: every node that takes a CLIP works with it, prompt weights included."""

import logging
import os
import weakref
from types import SimpleNamespace

import comfy.model_management
import comfy.sd
import comfy.sd1_clip
import comfy.text_encoders
import torch

from ..connectors.facts import TextEncoderFacts
from ..errors import ELLAError, file_name
from ..language_models.encoder_files import find_encoder_files
from ..language_models.kinds import inspect_text_encoder, open_text_encoder
from ..language_models.quantised_file import rounding
from ..prompts.finite_states import check_finite
from ..prompts.prompt_parts import prompt_parts
from .clip_tokenizer import NAME, OTHER_NODE, ELLATokenizer
from .conditioning import text_states_mark
from .weights_on_demand import WeightsOnDemand

LOADED = weakref.WeakValueDictionary()  # CLIPs in use, by the identity of their files
LONGEST = 4096  # tokens; the attention of 10,000 takes 13 GB


class WeightedEncoder(torch.nn.Module, comfy.sd1_clip.ClipTokenWeightEncoder):
    """The core's text encoder under the host's rule for prompt weights."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.execution_device = None
        # Of an empty prompt, which the host takes weighted states from and to.
        added = {"start": encoder.added.start[-1:], "end": encoder.added.end[:1], "pad": (encoder.added.padding,)}
        self.special_tokens = {name: ids[0] for name, ids in added.items() if ids}

    def encode(self, tokens):
        self.encoder.read_weights()  # a node may come here without the host's loading
        # On a small GPU the host may have loaded a part only, and transformers' layers don't fetch the rest themselves.
        if len({weight.device for weight in self.encoder.parameters()}) > 1:
            self.encoder.to(self.execution_device)
        # One by one, so that a prompt's own states never depend on what else is in the batch.
        states = torch.cat([self.encoder.read(ids) for ids in tokens])  # (sections, T, text_dim)
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

    def forward(self, *args, **kwargs):
        raise ELLAError(
            f"This text encode node runs a CLIP in its own way, for which ELLA's text encoder is not made; {OTHER_NODE}"
        )

    def generate(self, *args, **kwargs):
        raise ELLAError(
            "A node that writes text got ELLA's text encoder, which only reads; wire a Load CLIP with a language "
            "model that writes to it."
        )

    def load_sd(self, sd):
        raise ELLAError("Weights can't be loaded into ELLA's text encoder; choose the file in Load ELLA Text Encoder.")


class ELLATextEncoderModel(comfy.sd1_clip.SD1ClipModel):
    """What a host CLIP holds: its dtype whatever the host's flags, moved whole because its layers are transformers'."""

    disable_offload = True

    def __init__(self, encoder, pieces):
        super().__init__(
            name=NAME, clip_model=lambda **_: WeightedEncoder(encoder), device=encoder.device, dtype=encoder.dtype
        )
        self.encoder_pieces = pieces
        self.facts = facts_of(encoder)

    def encode_token_weights(self, token_weight_pairs):
        check_length(token_weight_pairs)
        parts = []
        for section in token_weight_pairs[NAME]:  # each part of a prompt as if it were alone, then joined
            states, pooled = super().encode_token_weights({NAME: [section]})
            check_finite(states, self.encoder_pieces(section))
            parts.append(states)
        return torch.cat(parts, dim=1), pooled, text_states_mark(self.facts)


def facts_of(encoder):
    """TextEncoderFacts of a TextEncoder."""
    return TextEncoderFacts(encoder.architecture, encoder.text_dim, str(encoder.dtype).removeprefix("torch."))


def check_length(tokens):
    """Raises ELLAError for more token ids than memory may be enough for."""
    length = sum(map(len, tokens[NAME]))
    if length > LONGEST:
        raise ELLAError(
            f"The prompt has {length:,} tokens, and reading more than {LONGEST:,} at once can take all of the memory; "
            f"shorten it, or set max_length of ELLA Text Encode to {LONGEST} or less, which cuts it there."
        )


def load_clip(path, precision="auto", device="default"):
    """Host CLIP of the text encoder at `path`, see `load_text_encoder`; the host's T5 tokenizer where it has none.

    `precision` is auto or the name of a torch dtype, see `dtype_for`, `device` is default or cpu. As long as a CLIP of
    the same files, precision and device is in use, its weights are shared.
    """
    clip = open_clip(path, precision, device)
    encoder_of(clip).read_weights()
    return clip


def open_clip(path, precision="auto", device="default"):
    """`load_clip` without the weights, which are read when the host loads the CLIP or somebody runs it."""
    identity = find_encoder_files(path).identity()
    key = identity, precision, device
    clip = LOADED.get(key)
    # One that was opened before its files changed has read others than those it was opened for.
    if clip is not None and encoder_of(clip).identity == identity:
        return clip.clone()
    LOADED[key] = clip = new_clip(path, precision, device)
    return clip


def dtype_for(precision, language_model, device):
    """The torch dtype that a language model computes in on a device.

    auto is what every connector for it is trained with, which T5 has, else bfloat16 where the device computes in it and
    is no processor, and float32 elsewhere. Another one than that of training is said in the log.
    """
    trained = language_model.trained_dtype
    if precision == "auto":
        on_gpu = not comfy.model_management.is_device_cpu(device)
        fast = torch.bfloat16 if on_gpu and comfy.model_management.should_use_bf16(device) else torch.float32
        return trained or fast
    dtype = getattr(torch, precision)
    if trained not in (None, dtype):
        logging.warning(
            f"ELLA's text encoder computes in {precision}, and connectors for {language_model.architecture} were "
            f"trained with {str(trained).removeprefix('torch.')}, so pictures differ; set precision to auto."
        )
    return dtype


def encoder_of(clip):
    """The core's TextEncoder in a CLIP of ELLA."""
    return getattr(clip.cond_stage_model, NAME).encoder


def new_clip(path, precision="auto", device="default"):
    """Host CLIP of the text encoder at `path` with weights of its own, which are not read so far."""
    host_tokenizer = os.path.join(os.path.dirname(comfy.text_encoders.__path__[0]), "text_encoders", "t5_tokenizer")
    cpu = torch.device("cpu")
    runs_on = cpu if device == "cpu" else comfy.model_management.text_encoder_device()
    language_model = inspect_text_encoder(path)
    dtype = dtype_for(precision, language_model, runs_on)
    rounded = rounding(language_model.formats)
    if rounded:
        logging.warning(
            f"{file_name(path)} is quantised: {rounded}. Connectors were trained with the full language model, so "
            "pictures differ from its."
        )
    encoder = open_text_encoder(path, host_tokenizer, dtype)
    tokenizer = ELLATokenizer(encoder)
    target = SimpleNamespace(
        params={},
        clip=lambda **_: ELLATextEncoderModel(encoder, tokenizer.pieces),
        tokenizer=lambda **_: tokenizer,
    )
    # The initial device keeps the host from loading at once what it thinks is on its device already.
    options = {"initial_device": encoder.device}
    if device == "cpu":
        options |= {"load_device": cpu, "offload_device": cpu}
    parameters = sum(weight.numel() for weight in encoder.parameters())
    clip = comfy.sd.CLIP(target, parameters=parameters, model_options=options)
    clip.patcher.__class__ = WeightsOnDemand  # the host has no way to say which ModelPatcher a CLIP gets
    clip.patcher.cached_patcher_init = (new_patcher, (path, precision, device))
    return clip


def new_patcher(path, precision, device, disable_dynamic=False):
    """A fresh ModelPatcher of the same text encoder, for the host; it is never a dynamic one."""
    clip = new_clip(path, precision, device)
    encoder_of(clip).read_weights()
    return clip.patcher


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
    tokens = clip.tokenize(text, max_length=max_length)
    check_length(tokens)  # before the weights are read
    return clip.encode_from_tokens_scheduled(tokens)


def prompt_pieces(clip, text, max_length, node, spell_unreadable=False):
    """Prompt -> the token ids of each of its parts as a list of Piece, with weights; `node` as in `check_clip`.

    With `spell_unreadable` a token that stands for characters which the vocabulary lacks has those as its text.
    """
    check_clip(clip, node)
    sections = clip.tokenize(text, max_length=max_length)[NAME]
    parts = prompt_parts(text)
    return [clip.tokenizer.pieces(section, part, spell_unreadable) for section, part in zip(sections, parts)]
