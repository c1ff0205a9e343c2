"""Characters of a prompt that the language model has no piece for, and so reads as unknown."""

import unicodedata
from itertools import groupby


def unreadable_runs(texts, is_unknown):
    """Runs of unreadable characters, in order, in texts that are tokenized on their own.

    `is_unknown(character)` says whether the tokenizer knows a character. A run becomes one token: sentencepiece joins
    unknown characters that stand together, after it brought the text into Unicode's form NFKC.
    """
    known = {}

    def unknown(character):
        if character not in known:
            known[character] = bool(is_unknown(character))
        return known[character]

    texts = [unicodedata.normalize("NFKC", text) for text in texts]
    return ["".join(run) for text in texts for missing, run in groupby(text, unknown) if missing]
