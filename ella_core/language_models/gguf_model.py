"""A language model in a GGUF file, read back to a torch dtype while it is loaded: T5 encoders, Llama-type decoders."""

import os

import torch

from ..block_shapes import MOST_BLOCKS
from ..errors import ELLAError, OtherModelError, file_name, quoted
from .auto_model import LOCAL, check_loaded, check_tokenizer, one_sentence, quiet
from .gguf_header import check_gguf
from .quantised_file import gguf_names, gguf_weights, import_gguf, lacking
from .t5_attention import attention_name
from .t5_file import FEWEST_BUCKETS, LARGEST_EPSILON, MAX_DISTANCE, TIED_EMBEDDING
from .text_encoder import AddedTokens, LanguageModel
from .tokenizer_file import END, PAD, PROBE, check_t5, load_tokenizer

ARCHITECTURES = {"t5": "t5", "t5encoder": "t5", "llama": "llama"}  # GGUF's words and transformers'
IN_BLOCKS = ("blk.", "enc.")  # beginnings of the names of tensors that make text states
ANGLES = ".attn_rot_embd."  # tensors of old files that transformers computes


class GGUFModel(LanguageModel):
    """One .gguf file, which holds the sizes of its model and mostly its tokenizer too."""

    def __init__(self, path, files):
        name = file_name(path)
        gguf = import_gguf()
        check_gguf(path)
        with one_sentence(name):
            reader = gguf.GGUFReader(path)
            fields = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("tokenizer.")}
            shapes = {tensor.name: tuple(int(size) for size in tensor.shape) for tensor in reader.tensors}
        stated = fields.get("general.architecture")
        if not isinstance(stated, str) or stated not in ARCHITECTURES:
            kind = f"a GGUF file of a {quoted(stated)} model"
            raise OtherModelError(f"{name} is {kind}, where T5 or Llama is expected; choose another one.", kind)
        self.name = name
        self.shapes = shapes
        self.sizes_in_file = {key.removeprefix(f"{stated}."): value for key, value in fields.items()}
        self.types = sorted({tensor.tensor_type.name for tensor in reader.tensors})
        embedding = shapes.get("token_embd.weight")
        if embedding is None or len(embedding) != 2 or 0 in embedding:
            raise ELLAError(f"{name} has no word embedding; download it again.")
        width, self.rows = embedding
        sizes = {key: value for key, value in self.sizes_in_file.items() if "." not in key or "attention" in key}
        text_dim, depth = self.count("embedding_length"), self.count("block_count", most=MOST_BLOCKS)
        if text_dim != width:
            raise ELLAError(
                f"{name} states a width of {text_dim} and has a word embedding of {width}; download it again."
            )
        self.is_gated = "enc.blk.0.ffn_gate.weight" in shapes
        super().__init__(path, files, (), ARCHITECTURES[stated], text_dim, depth, sizes)
        self.trained_dtype = torch.float16 if self.architecture == "t5" else None
        self.check_sizes()

    def check_sizes(self):
        """Raises ELLAError for sizes that are missing or that no such model has, which transformers would fill in."""
        self.count("feed_forward_length")
        heads = self.count("attention.head_count")
        if self.architecture == "t5":
            self.t5_sizes()
            return
        self.count("attention.head_count_kv", heads)
        self.number("attention.layer_norm_rms_epsilon", most=LARGEST_EPSILON)
        self.number("rope.freq_base", 10000.0)

    def count(self, key, default=None, least=1, most=2**31):
        """A whole number that the file states; ELLAError for another one, or for none where there is no `default`."""
        found = self.sizes_in_file.get(key, default)
        if type(found) is not int or not least <= found <= most:
            raise self.wrong_size(key, found, f"a whole number from {least} to {most}")
        return found

    def number(self, key, default=None, most=1e12):
        """As `count`, a number above 0."""
        found = self.sizes_in_file.get(key, default)
        if type(found) not in (int, float) or not 0 < found <= most:
            raise self.wrong_size(key, found, f"a number above 0 and up to {most:g}")
        return float(found)

    def wrong_size(self, key, found, expected):
        stated = "no value" if found is None else quoted(found)
        return ELLAError(
            f"{self.name} states {stated} for {quoted(key)}, where {expected} is expected; download it again."
        )

    @property
    def formats(self):
        return self.types

    @property
    def in_folder(self):
        folder, name = os.path.split(self.path)
        return (folder,), LOCAL | {"gguf_file": name}

    def load_tokenizer(self, fallback=None):
        """See LanguageModel; every T5 of these has the same vocabulary, which `fallback` holds."""
        if self.architecture == "t5" and fallback is not None:
            return load_tokenizer(fallback, self.rows), AddedTokens(end=(END,), padding=PAD)
        import transformers

        where, options = self.in_folder
        name = file_name(self.path)
        with one_sentence(name), quiet(transformers):
            tokenizer = transformers.AutoTokenizer.from_pretrained(*where, **options)
            added = AddedTokens(end=(END,), padding=PAD) if self.architecture == "t5" else AddedTokens.of(tokenizer)
            ids = tokenizer(PROBE)["input_ids"]
        check_tokenizer(name, tokenizer, self.rows, ids)
        if self.architecture == "t5":
            check_t5(name, tokenizer.get_vocab(), ids, self.rows)
        return tokenizer, added

    def skeleton(self, dtype):
        import transformers

        with one_sentence(file_name(self.path)), quiet(transformers):
            if self.architecture == "t5":
                config = transformers.T5Config(**self.t5_sizes(), attn_implementation=attention_name())
                model_class = transformers.T5EncoderModel
            else:
                where, options = self.in_folder
                config = transformers.AutoConfig.from_pretrained(*where, **options)
                model_class = transformers.AutoModel.from_config
            with torch.device("meta"):
                model = model_class(config).to(dtype)
        self.check_shapes({key: tuple(weight.shape) for key, weight in model.state_dict().items()})
        return model

    def check_shapes(self, expected):
        """Raises ELLAError unless the file has the model's tensors, {key: shape}, and no more in its blocks."""
        names = gguf_names([key for key in expected if key != TIED_EMBEDDING], self.architecture, self.depth)
        for key, name in names.items():
            found = self.shapes.get(name)
            if found is None:
                raise lacking(self.path, key)
            if found[::-1] != expected[key]:  # GGUF counts the fastest dimension first
                raise ELLAError(
                    f"{self.name} has {quoted(name)} of shape {quoted(found[::-1])}, where {quoted(expected[key])} is "
                    "expected; download it again."
                )
        own = set(names.values())
        extra = [name for name in self.shapes if name.startswith(IN_BLOCKS) and name not in own and ANGLES not in name]
        if extra:
            raise ELLAError(
                f"{self.name} has {len(extra)} tensors more than such a model (first: {quoted(extra[0])}), which would "
                "not be read; choose another file."
            )

    def t5_sizes(self):
        most = 4 * MAX_DISTANCE - 1  # so that the nearest quarter of them ends before the farthest distance
        return {
            "d_model": self.text_dim,
            "d_ff": self.count("feed_forward_length"),
            "d_kv": self.count("attention.key_length"),
            "num_heads": self.count("attention.head_count"),
            "num_layers": self.depth,
            "vocab_size": self.rows,
            "relative_attention_num_buckets": self.count("attention.relative_buckets_count", 32, FEWEST_BUCKETS, most),
            "relative_attention_max_distance": MAX_DISTANCE,
            "layer_norm_epsilon": self.number("attention.layer_norm_rms_epsilon", 1e-6, LARGEST_EPSILON),
            "feed_forward_proj": "gated-gelu" if self.is_gated else "relu",
        }

    def with_weights(self, skeleton, dtype):
        """See LanguageModel; what was rounded stays rounded."""
        import transformers

        name = file_name(self.path)
        keys = [key for key in skeleton.state_dict() if key != TIED_EMBEDDING]
        with one_sentence(name), quiet(transformers):
            weights = gguf_weights(self.path, keys, self.architecture, self.depth, dtype)
            if self.architecture == "t5":
                weights[TIED_EMBEDDING] = weights["shared.weight"]
                skeleton.load_state_dict(weights, strict=True, assign=True)
                model, info = skeleton, {"missing_keys": (), "mismatched_keys": ()}
            else:
                # Buffers that no file holds are computed by transformers' own loading.
                model, info = type(skeleton).from_pretrained(
                    None, config=skeleton.config, state_dict=weights, output_loading_info=True
                )
                model = model.to(dtype)
        check_loaded(name, model, info)
        return model
