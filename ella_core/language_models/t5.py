"""The frozen language model that reads the prompt: a T5 encoder computed entirely in float16.

The released connector was trained on FLAN-T5-XL states computed in float16. That model's activations overflow
float16 and transformers clamps them; the clamped states are what the connector knows, so neither float32 nor
bfloat16 may take their place, on any device.
"""

import json
import os

import torch
from safetensors import safe_open

from ..errors import ELLAError, OtherModelError
from ..file_kind import kind_of
from ..released import LANGUAGE_MODEL, REPOSITORY, TEXT_ENCODER_FOLDER
from ..safetensors_file import read_header
from .encoder_files import find_encoder_files
from .spiece_tokenizer import SentencePieceTokenizer
from .t5_attention import attention_name

PAD, END = 0, 1  # T5's token ids
EMBEDDING, TIED_EMBEDDING = "shared.weight", "encoder.embed_tokens.weight"
BIAS = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"
QUERY = "encoder.block.0.layer.0.SelfAttention.q.weight"
GATED, UNGATED = (
    "encoder.block.0.layer.1.DenseReluDense.wi_0.weight",
    "encoder.block.0.layer.1.DenseReluDense.wi.weight",
)
EXPECTED = f"{LANGUAGE_MODEL}'s encoder is expected ({TEXT_ENCODER_FOLDER} from {REPOSITORY})"


class TextEncoder(torch.nn.Module):
    """transformers' T5EncoderModel in float16 with its tokenizer; its weights may be read later than its header.

    `text_dim` is the width of its text states; the tokenizer is called with a text and gives {"input_ids": [...]}.
    `identity` is that of the files, see `EncoderFiles.identity`: those whose weights were read, or will be.
    """

    def __init__(self, model, tokenizer, path, identity):
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.text_dim = model.config.d_model
        self.path = path
        self.identity = identity

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
        files, headers, _ = inspect_text_encoder(self.path)
        identity = files.identity()
        weights = read_weights(name_of(self.path), headers, self.model.state_dict())
        if files.identity() != identity:
            raise ELLAError(
                f"{name_of(self.path)} changed while it was read; wait until it is written or downloaded, then run again."
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
    files, headers, sizes = inspect_text_encoder(path)
    name = name_of(path)
    if files.tokenizer is None and tokenizer is None:
        raise ELLAError(
            f"{name} comes without a tokenizer.json or spiece.model; put one beside it or give `tokenizer`."
        )

    from transformers import T5Config, T5EncoderModel  # slow to import, so only when a text encoder is loaded

    with torch.device("meta"):
        model = T5EncoderModel(T5Config(**sizes, attn_implementation=attention_name())).half()
    check_shapes(name, headers, model.state_dict())
    return TextEncoder(model.eval(), load_tokenizer(files.tokenizer or tokenizer), path, files.identity())


def inspect_text_encoder(path):
    """(EncoderFiles, their headers, T5Config's arguments) of the T5 encoder at `path`, without reading a weight.

    Raises ELLAError as `load_text_encoder` does, and OtherModelError for a model that is no T5 encoder.
    """
    files = find_encoder_files(path)
    headers = [read_header(weights) for weights in files.weights]
    shapes = {key: shape for header in headers for key, shape in header.shapes.items()}
    name = name_of(path)
    check_encoder(name, shapes, files.config)
    check_precision(name, headers)
    return files, headers, read_sizes(name, shapes, files.config)


def name_of(path):
    return os.path.basename(os.fspath(path).rstrip("/\\"))


def check_encoder(name, shapes, config_path):
    """Raises ELLAError unless the tensor names and the config are those of a T5 encoder that can be read."""
    if config_path is not None:
        model_type = read_json(config_path).get("model_type")
        if model_type != "t5":
            raise other_model(name, f"a {model_type} model by its config.json")
    if QUERY not in shapes or not {EMBEDDING, TIED_EMBEDDING} & shapes.keys():
        raise other_model(name, kind_of(shapes) or "not a T5 encoder")
    if BIAS.format(1) in shapes:
        raise other_model(name, "a UMT5 or Pile-T5 encoder (a position bias in every block)")


def other_model(name, kind):
    return OtherModelError(f"{name} is {kind}, where {EXPECTED}.", kind)


def check_precision(name, headers):
    """Raises ELLAError for quantised weights, which give other text states than those the connector was trained on."""
    for header in headers:
        for key, dtype in header.dtypes.items():
            if dtype not in ("F16", "BF16", "F32") or key.endswith((".scale_weight", ".weight_scale", ".comfy_quant")):
                raise ELLAError(
                    f"{name} is quantised ({key} is {dtype}), and the connector only knows float16 text states; "
                    f"{EXPECTED}."
                )


def read_json(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except ValueError as error:
        raise ELLAError(f"{os.path.basename(path)} is not valid JSON ({error}); download it again.") from error


def read_sizes(name, shapes, config_path):
    """T5Config's arguments from the tensors, and from the config.json where there is one; both must agree."""
    embedding = shapes.get(EMBEDDING) or shapes[TIED_EMBEDDING]
    buckets, heads = shapes.get(BIAS.format(0), (32, 0))
    inner = shapes[QUERY][0]
    gated = GATED in shapes
    sizes = {
        "d_model": embedding[1],
        "d_ff": shapes[GATED if gated else UNGATED][0] if gated or UNGATED in shapes else 0,
        "d_kv": inner // heads if heads else 0,
        "num_heads": heads,
        "num_layers": len({key.split(".")[2] for key in shapes if key.startswith("encoder.block.")}),
        "vocab_size": embedding[0],
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu" if gated else "relu",
    }
    if config_path is None:
        return sizes
    config = read_json(config_path)
    for key, found in sizes.items():
        stated = config.get(key)
        if isinstance(found, int) and stated is not None and stated != found:
            raise ELLAError(
                f"{name} has a config.json with {key} {stated} and weights with {found}, so they belong to different "
                "models; download the folder again."
            )
    return sizes | {
        key: config[key]
        for key in ("feed_forward_proj", "layer_norm_epsilon", "relative_attention_max_distance")
        if key in config
    }


def check_shapes(name, headers, expected):
    """Raises ELLAError unless the headers hold all tensors of `expected` (name -> tensor) in their shapes."""
    shapes = {key: shape for header in headers for key, shape in header.shapes.items()}
    for tied, key in ((EMBEDDING, TIED_EMBEDDING), (TIED_EMBEDDING, EMBEDDING)):
        if key not in shapes:
            shapes[key] = shapes[tied]
    missing = [key for key in expected if key not in shapes]
    if missing:
        raise ELLAError(
            f"{name} lacks {len(missing)} of the encoder's {len(expected)} tensors (first: {missing[0]}); download it "
            "again."
        )
    for key, tensor in expected.items():
        if shapes[key] != tuple(tensor.shape):
            raise ELLAError(
                f"{name} has {key} of shape {shapes[key]} where {tuple(tensor.shape)} is expected; download it again."
            )


def read_weights(name, headers, expected):
    """The encoder's weights in float16 (`wo` too) by name, checked as in `check_shapes` and to be finite."""
    check_shapes(name, headers, expected)
    weights = {}
    for header in headers:
        with safe_open(header.path, "pt") as file:
            for key in header.shapes:
                if key in expected:
                    weights[key] = file.get_tensor(key).to(torch.float16)
                    # The extremes are NaN where a value is, and take a sixth of the time of isfinite().
                    if not all(value.isfinite() for value in weights[key].aminmax()):
                        raise ELLAError(
                            f"{name} holds values that are not finite in {key}, so every picture would be black; "
                            "download it again."
                        )
    weights[EMBEDDING] = weights.get(EMBEDDING, weights.get(TIED_EMBEDDING))
    weights[TIED_EMBEDDING] = weights[EMBEDDING]
    return weights


def load_tokenizer(path):
    """The tokenizer of a tokenizer.json, a spiece.model, or a folder with a tokenizer.json."""
    from transformers import PreTrainedTokenizerFast

    if path.endswith("spiece.model"):
        return SentencePieceTokenizer(path)
    return PreTrainedTokenizerFast(tokenizer_file=os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path)
