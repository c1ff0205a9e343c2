"""Small real tokenizer.json files in T5's manner, and such as are no T5's."""

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

ROWS = 32128  # of the embedding in t5_overflow, which FLAN-T5's has too
WORDS = ("a", "red", "fox", "blue")
MARK = "\u2581"


def write_tokenizer(path, size=ROWS, end="</s>", unknown=True, closes=True):
    """Pad 0, `end` 1, unigram pieces with the word marker, and others up to `size` token ids.

    Without `unknown` it has no token for what it can't read, without `closes` it does not end a text.
    """
    pieces = ["<pad>", end, "<unk>", MARK, "a", *(MARK + word for word in WORDS)]
    pieces += [f"<extra_id_{i}>" for i in range(size - len(pieces))]
    scored = [(piece, -float(i)) for i, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(scored, unk_id=2 if unknown else None))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    if closes:
        tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {end}", special_tokens=[(end, 1)])
    tokenizer.save(str(path))
