"""Any text model of transformers by its last hidden state: encoders such as BERT, decoders such as Llama.

Its files are a Hugging Face folder: config.json, tokenizer.json and safetensors. Code that lies in the folder is never
run.
"""

import math
import os
from contextlib import contextmanager

import torch

from ..block_shapes import MOST_BLOCKS
from ..errors import ELLAError, OtherModelError, file_name, of_error, quoted
from ..finite import is_finite
from .encoder_files import CONFIG
from .quantised_file import check_float8, is_float8, stored_weights
from .text_encoder import AddedTokens, LanguageModel
from .tokenizer_file import PROBE

LOCAL = {"local_files_only": True, "trust_remote_code": False}

# Where config.json states the width of the hidden states and the number of blocks, by the habits of the families.
WIDTHS = ("hidden_size", "d_model", "n_embd", "dim")
DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
# Ends of the name of the word embedding, whose second dimension is the width of the hidden states.
WORD_EMBEDDINGS = ("embed_tokens.weight", "word_embeddings.weight", "wte.weight")
# Encoders whose AutoModel would bring a decoder along, by their classes in transformers.
ENCODER_CLASSES = {"t5gemma": "T5GemmaEncoderModel"}
# Words in the keys of a config.json that count parts of a model.
COUNTED = ("layer", "expert", "block")
MOST_COMPUTED = 2**24  # numbers that a model computes by itself, as masks and angles
NEVER_READ = ("pooler.",)  # parts of a model after its last hidden state, which files may lack


class AutoTextModel(LanguageModel):
    """A Hugging Face folder with a text model that transformers' AutoModel knows, its files under their plain names."""

    def __init__(self, path, files, headers, config):
        name = file_name(path)
        shapes = {key: shape for header in headers for key, shape in header.shapes.items()}
        architecture, text_dim, depth = read_sizes(name, config, shapes)
        check_counts(name, config, most=max(len(shapes), MOST_BLOCKS))
        if os.path.basename(files.config) != CONFIG:
            raise ELLAError(
                f"{name} has its config under the name {file_name(files.config)}; put the files of this language model "
                "into a folder of their own under their plain names."
            )
        check_float8(name, headers)
        super().__init__(path, files, headers, architecture, text_dim, depth, config)
        self.folder = os.path.dirname(files.config)

    def load_tokenizer(self, fallback=None):
        """See LanguageModel; as the folder says, with whatever it adds at a text's start and end."""
        import transformers  # slow to import, so only when a text encoder is loaded

        name = file_name(self.path)
        with one_sentence(name), quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(self.folder, **LOCAL)
            added = AddedTokens.of(tokenizer)
            ids = tokenizer(PROBE)["input_ids"]
        rows = max(shape[0] for header in self.headers for shape in word_embeddings(header.shapes))
        check_tokenizer(name, tokenizer, rows, ids)
        return tokenizer, added

    def skeleton(self, dtype):
        import transformers

        with one_sentence(file_name(self.path)), quiet(transformers), torch.device("meta"):
            config = transformers.AutoConfig.from_pretrained(self.folder, **LOCAL)
            if config.model_type not in ENCODER_CLASSES:
                model = transformers.AutoModel.from_config(config).to(dtype)
            else:
                config.is_encoder_decoder = False
                model = getattr(transformers, ENCODER_CLASSES[config.model_type])(config).to(dtype)
        check_size(file_name(self.path), model, self.headers)
        return model

    def with_weights(self, skeleton, dtype):
        """See LanguageModel; read by transformers, which knows the tensors' names in other versions."""
        import transformers

        name = file_name(self.path)
        quantised = dict(stored_weights(self.headers, dtype)) if is_float8(self.headers) else None
        # transformers before 4.56 knows the argument by its former name alone.
        precision = {"dtype" if hasattr(skeleton.config, "dtype") else "torch_dtype": dtype}
        with one_sentence(name), quiet(transformers):
            model, info = type(skeleton).from_pretrained(
                self.folder if quantised is None else None,
                config=skeleton.config,
                state_dict=quantised,
                use_safetensors=True,
                output_loading_info=True,
                local_files_only=True,
                **precision,
            )
        check_loaded(name, model, info)
        return model


def read_sizes(name, config, shapes):
    """(architecture, text_dim, depth) of the text model with this config.json, without reading a weight.

    Raises ELLAError for a config that states no such model, OtherModelError for one that is not for text.
    """
    architecture = config.get("model_type")
    if not isinstance(architecture, str):
        raise other_model(name, f"of no kind that is known (its config.json has model_type {quoted(architecture)})")
    sizes = config.get("encoder") if architecture in ENCODER_CLASSES else config
    if not isinstance(sizes, dict):
        raise ELLAError(f"{name} has a config.json without an encoder's sizes; download it again.")
    if config.get("is_encoder_decoder") and architecture not in ENCODER_CLASSES:
        raise other_model(name, f"a {quoted(architecture)} model, which has a decoder of its own")
    text_dim = size_of(name, sizes, WIDTHS)
    widths = {shape[1] for shape in word_embeddings(shapes)}
    if not widths:
        raise other_model(name, f"a {quoted(architecture)} model without a word embedding")
    if text_dim not in widths:
        raise ELLAError(
            f"{name} has a config.json with a width of {text_dim} and a word embedding of {sorted(widths)[0]}, so they "
            "belong to different models; download the folder again."
        )
    return architecture, text_dim, size_of(name, sizes, DEPTHS)


def check_counts(name, config, most):
    """Raises ELLAError where a config.json counts more than `most` blocks or experts, which are built one by one."""
    for key, value in config.items():
        if isinstance(value, dict):
            check_counts(name, value, most)
        elif type(value) is int and value > most and any(word in key for word in COUNTED):
            raise ELLAError(
                f"{name} has a config.json whose {quoted(key)} is {quoted(value)}, and its files hold no such model; "
                "download the folder again."
            )


def check_size(name, skeleton, headers):
    """Raises ELLAError where a skeleton is twice what the files hold, before memory is taken for what they lack."""
    stored = sum(math.prod(shape) for header in headers for shape in header.shapes.values())
    needed = sum(w.numel() for key, w in skeleton.named_parameters() if not any(part in key for part in NEVER_READ))
    computed = sum(buffer.numel() for buffer in skeleton.buffers())
    if needed > 2 * stored or computed > stored + MOST_COMPUTED:
        raise ELLAError(
            f"{name} has a config.json for a model of {needed:,} weights, and its files hold {stored:,}, so they "
            "belong to different models; download the folder again."
        )


def word_embeddings(shapes):
    """Shapes (token ids, width) of what looks like a word embedding."""
    return [shape for key, shape in shapes.items() if key.endswith(WORD_EMBEDDINGS) and len(shape) == 2]


def size_of(name, config, keys):
    found = next((config[key] for key in keys if key in config), None)
    if not isinstance(found, int) or isinstance(found, bool) or found <= 0:
        raise ELLAError(f"{name} has a config.json whose {keys[0]} is {quoted(found)}; download it again.")
    return found


def other_model(name, kind):
    return OtherModelError(f"{name} is {kind}, where a language model is expected; choose another one.", kind)


@contextmanager
def one_sentence(name):
    """Turns whatever transformers raises of a folder into an ELLAError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError, ELLAError):
        raise
    except BaseException as error:  # a folder may hold anything; transformers checks little, and Rust may panic
        raise ELLAError(
            f"{name} can't be read as a language model ({of_error(error)}); download the folder again, or update "
            "transformers where the model is newer."
        ) from error


@contextmanager
def quiet(transformers):
    """Keeps transformers' progress bars and its report on weights that are not needed out of the console."""
    logging = transformers.utils.logging
    verbosity, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()


def check_loaded(name, model, info):
    """Raises ELLAError where transformers filled in what the files lack, or where weights are not finite."""
    absent = [key for key in info["missing_keys"] if not any(part in key for part in NEVER_READ)]
    other = [str(item[0] if isinstance(item, tuple) else item) for item in info["mismatched_keys"]]
    if absent or other:
        found = f"lacks {len(absent)} of its tensors" if absent else f"has {len(other)} tensors of another shape"
        first = quoted(sorted(absent or other)[0])
        raise ELLAError(f"{name} {found} (first: {first}); download the folder again.")
    for key, weight in model.state_dict().items():
        if weight.is_floating_point() and not is_finite(weight):
            raise ELLAError(f"{name} holds values that are not finite in {quoted(key)}; download it again.")


def check_tokenizer(name, tokenizer, rows, ids):
    """Raises ELLAError for a tokenizer that can't say which letters a token is of, or of another model's `rows`.

    `ids` is what it makes of a text, with what it adds.
    """
    if not tokenizer.is_fast:
        raise ELLAError(f"{name} has no tokenizer.json, which this language model needs; download the whole folder.")
    highest = max(*tokenizer.get_vocab().values(), *ids, 0)
    if highest >= rows:
        raise ELLAError(
            f"{name} has a tokenizer of {highest + 1} token ids and a word embedding of {rows}, so they belong to "
            "different models; download the folder again."
        )
