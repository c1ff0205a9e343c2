"""What a connector was trained with, as its file states it in `ella.text_encoder`, `ella.base` and `ella.training`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields

from ..errors import quoted

DTYPES = ("float16", "bfloat16", "float32")
LONGEST = 2**20  # characters of JSON that a file may state; read, they take twenty times as much memory


@dataclass(frozen=True)
class TextEncoderFacts:
    """The language model whose text states a connector knows, and how a text became text states.

    `layer` counts from the end: -1 is the last hidden state, after the model's final norm. `max_length` is where texts
    were cut, in token ids with those that the tokenizer adds, None for no limit. With `padding`, shorter texts were
    padded to max_length and the connector read the states of the padding too; `attention_mask` says whether the
    language model was told which token ids are padding. The connector itself never sees a mask.
    """

    architecture: str  # model_type in the config.json of transformers, "t5"
    hidden_size: int
    dtype: str = "float16"
    layer: int = -1
    max_length: int | None = None
    padding: bool = False
    attention_mask: bool = True
    name: str = ""  # as people know it, "google/flan-t5-xl"


@dataclass(frozen=True)
class ConnectorFacts:
    """`base` is the diffusion model that the tokens are for: sd15, sdxl or another word; `training` is anything."""

    text_encoder: TextEncoderFacts | None = None
    base: str = ""
    training: dict = field(default_factory=dict)

    def described(self):
        """What it states, as parts of a sentence: the diffusion model, the language model and its dtype."""
        parts = [f"made for {quoted(self.base)}"] if self.base else []
        if self.text_encoder is not None:
            encoder = self.text_encoder
            parts.append(f"trained with {quoted(encoder.name or encoder.architecture)} in {encoder.dtype}")
        return parts

    def metadata(self):
        """{key: text} for a file's metadata."""
        texts = {}
        if self.text_encoder is not None:
            texts["ella.text_encoder"] = json.dumps(asdict(self.text_encoder))
        if self.base:
            texts["ella.base"] = self.base
        if self.training:
            texts["ella.training"] = json.dumps(self.training)
        return texts


def text_encoder_facts(values):
    """TextEncoderFacts of a dict, whose further keys are left out.

    Raises ValueError, in words that follow "an ella.text_encoder that", for values that say nothing.
    """
    known = {one.name: values[one.name] for one in fields(TextEncoderFacts) if one.name in values}
    missing = [name for name in ("architecture", "hidden_size") if name not in known]
    if missing:
        raise ValueError(f"has no {missing[0]}")
    facts = TextEncoderFacts(**known)
    for name, (fits, expected) in EXPECTED.items():
        if not fits(getattr(facts, name)):
            raise ValueError(f"has a {name} that is not {expected}")
    if facts.padding and facts.max_length is None:
        raise ValueError("has padding without a max_length")
    return facts


def is_count(value):
    return type(value) is int and value > 0


EXPECTED = {
    "architecture": (lambda value: isinstance(value, str) and value, "a name"),
    "hidden_size": (is_count, "a whole number above 0"),
    "dtype": (lambda value: value in DTYPES, " or ".join(DTYPES)),
    "layer": (lambda value: type(value) is int and value < 0, "a whole number below 0"),
    "max_length": (lambda value: value is None or is_count(value), "a whole number above 0 or null"),
    "padding": (lambda value: type(value) is bool, "true or false"),
    "attention_mask": (lambda value: type(value) is bool, "true or false"),
    "name": (lambda value: isinstance(value, str), "a name"),
}


def read_facts(metadata):
    """ConnectorFacts of a file's metadata, empty ones of a file that states nothing.

    Raises ValueError, in words that follow the file's name, where ella.text_encoder or ella.training is not what it
    should be.
    """
    encoder = read_object(metadata, "ella.text_encoder")
    if encoder is not None:
        try:
            encoder = text_encoder_facts(encoder)
        except ValueError as error:
            raise ValueError(f"states an ella.text_encoder that {error}") from error
    training = read_object(metadata, "ella.training") or {}
    return ConnectorFacts(encoder, metadata.get("ella.base", ""), training)


def read_object(metadata, key):
    """The JSON object under a key of the metadata, None where the key is not there."""
    if key not in metadata:
        return None
    try:
        value = json.loads(metadata[key]) if len(metadata[key]) <= LONGEST else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"states an {key} that is no JSON object")
    return value
