"""Tiny random language models of each family in folders as their authors publish, with a tokenizer of its kind."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = ["a red fox reads a newspaper beside a blue teapot", "two green triangles above a large yellow square"] * 4
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 300,
}
GROUPED = SIZES | {"num_key_value_heads": 2}


def byte_bpe(start=None, end=None):
    """Byte-level BPE as GPT-2, Llama 3 and Qwen have it; `start` and `end` are put around a text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token in (start, end) if token]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return surrounded(tokenizer, start, end)


def sentence_pieces(start=None, end=None):
    """BPE over pieces that begin with a mark for the space, as Llama 2 and Gemma have it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", *(token for token in (start, end) if token)]
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=200, special_tokens=special))
    return surrounded(tokenizer, start, end)


def word_pieces():
    """WordPiece in lower case as BERT has it."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    return surrounded(tokenizer, "[CLS]", "[SEP]")


def surrounded(tokenizer, start, end):
    template = " ".join(token for token in (start, "$A", end) if token)
    special = [(token, tokenizer.token_to_id(token)) for token in (start, end) if token]
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=special)
    return tokenizer


# Each with its configuration and its tokenizer.
FAMILIES = {
    "bert": (lambda: transformers.BertConfig(**SIZES), word_pieces),
    "llama": (lambda: transformers.LlamaConfig(**GROUPED), lambda: sentence_pieces(start="<s>")),
    "gemma": (lambda: transformers.GemmaConfig(**GROUPED, head_dim=8), lambda: sentence_pieces(start="<bos>")),
    "gemma2": (lambda: transformers.Gemma2Config(**GROUPED, head_dim=8), lambda: sentence_pieces(start="<bos>")),
    "qwen2": (lambda: transformers.Qwen2Config(**GROUPED), byte_bpe),
    "qwen3": (lambda: transformers.Qwen3Config(**GROUPED, head_dim=8), byte_bpe),
    "mistral": (lambda: transformers.MistralConfig(**GROUPED), lambda: sentence_pieces(start="<s>")),
    "phi": (lambda: transformers.PhiConfig(**SIZES), byte_bpe),
    "phi3": (lambda: transformers.Phi3Config(**GROUPED, pad_token_id=0), lambda: sentence_pieces(start="<s>")),
    "gpt2": (lambda: transformers.GPT2Config(n_embd=32, n_layer=3, n_head=4, vocab_size=300), byte_bpe),
    "t5gemma": (
        lambda: transformers.T5GemmaConfig(
            encoder=GROUPED | {"head_dim": 8}, decoder=GROUPED | {"head_dim": 8}, vocab_size=300
        ),
        lambda: sentence_pieces(end="<eos>"),
    ),
}


def make_language_model(folder, family, dtype=torch.float32, shards=False):
    """Writes a random model of the family into `folder` as transformers saves it; weights large enough to matter."""
    config, tokenizer = FAMILIES[family]
    torch.manual_seed(5)
    model = transformers.AutoModel.from_config(config())
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": "40KB"} if shards else {}))
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer()).save_pretrained(folder)
    return folder
