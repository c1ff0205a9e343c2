"""How long a prompt is, and what a maximum length cut of it, in a line each."""

from .prompt_words import body_of
from .token_report import cut_words

SHOWN = 30  # words that are named; a prompt may lose thousands


def token_count(reads):
    """The pieces that are read of each part of a prompt -> for example "128 tokens, 71 of them padding"."""
    number = sum(map(len, reads))
    padding = sum(piece.is_padding for read in reads for piece in read)
    line = "1 token" if number == 1 else f"{number} tokens"
    if len(reads) > 1:
        line += f" in {len(reads)} parts ({' + '.join(str(len(read)) for read in reads)})"
    return f"{line}, {padding} of them padding" if padding else line


def cut_sentence(wholes, reads):
    """The pieces of each part of a prompt at full length, and those that are read -> what was cut, "" for nothing."""
    words = []
    for whole, read in zip(wholes, reads):
        stop = body_of(read)[1]
        words += [f"{word.text} (its end)" if word.start < stop else word.text for word in cut_words(whole, read)]
    if not words:
        return ""
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    noun = "1 word" if len(words) == 1 else f"{len(words)} words"
    return f"max_length {len(reads[0])} cut {noun}: {' '.join(words[:SHOWN])}{more}"
