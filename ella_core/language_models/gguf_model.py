"""A language model in a GGUF file, read back to a torch dtype while it is loaded: T5 encoders, Llama-type decoders."""

import os

import torch

from ..errors import ELLAError, OtherModelError, file_name, quoted
from .auto_model import LOCAL, check_loaded, check_tokenizer, one_sentence, quiet
from .quantised_file import gguf_weights, import_gguf
from .t5_attention import attention_name
from .t5_file import TIED_EMBEDDING
from .text_encoder import AddedTokens, LanguageModel
from .tokenizer_file import END, PAD, PROBE, load_tokenizer

ARCHITECTURES = {"t5": "t5", "t5encoder": "t5", "llama": "llama"}  # GGUF's words and transformers'


class GGUFModel(LanguageModel):
    """One .gguf file, which holds the sizes of its model and mostly its tokenizer too."""

    def __init__(self, path, files):
        name = file_name(path)
        gguf = import_gguf()
        with one_sentence(name):
            reader = gguf.GGUFReader(path)
            fields = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("tokenizer.")}
            shapes = {tensor.name: tuple(int(size) for size in tensor.shape) for tensor in reader.tensors}
        stated = fields.get("general.architecture")
        if stated not in ARCHITECTURES:
            kind = f"a GGUF file of a {quoted(stated)} model"
            raise OtherModelError(f"{name} is {kind}, where T5 or Llama is expected; choose another one.", kind)
        self.sizes_in_file = {key.removeprefix(f"{stated}."): value for key, value in fields.items()}
        self.types = sorted({tensor.tensor_type.name for tensor in reader.tensors})
        embedding = shapes.get("token_embd.weight")
        if embedding is None or len(embedding) != 2:
            raise ELLAError(f"{name} has no word embedding; download it again.")
        self.rows = max(embedding)
        with one_sentence(name):
            sizes = {key: value for key, value in self.sizes_in_file.items() if "." not in key or "attention" in key}
            text_dim, depth = int(sizes["embedding_length"]), int(sizes["block_count"])
        self.is_gated = "enc.blk.0.ffn_gate.weight" in shapes
        super().__init__(path, files, (), ARCHITECTURES[stated], text_dim, depth, sizes)
        self.trained_dtype = torch.float16 if self.architecture == "t5" else None

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
                return model_class(config).to(dtype)

    def t5_sizes(self):
        sizes = self.sizes_in_file
        return {
            "d_model": self.text_dim,
            "d_ff": int(sizes["feed_forward_length"]),
            "d_kv": int(sizes["attention.key_length"]),
            "num_heads": int(sizes["attention.head_count"]),
            "num_layers": self.depth,
            "vocab_size": self.rows,
            "relative_attention_num_buckets": int(sizes.get("attention.relative_buckets_count", 32)),
            "layer_norm_epsilon": float(sizes.get("attention.layer_norm_rms_epsilon", 1e-6)),
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
