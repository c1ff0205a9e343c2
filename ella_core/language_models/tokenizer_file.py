"""The tokenizer of a text encoder: read from the files that users have, and checked against the model."""

import os

from ..errors import ELLAError, file_name, of_error
from ..file_kind import unreadable
from .spiece_tokenizer import SentencePieceTokenizer

PAD, END = 0, 1  # T5's token ids
LONGEST = 64 * 2**20  # bytes; read, they take seven times as much, and mT5's has a quarter
# An embedding has rows that no token uses: FLAN-T5's 28 beside its tokenizer.json and 128 beside its spiece.model.
MOST_UNUSED_ROWS = 256
GET_T5 = "use the tokenizer.json or spiece.model that came with the language model"
PROBE = "a red fox \u2603"  # a snowman, which asks for the token of what is unknown


def load_tokenizer(path, rows):
    """The tokenizer of a tokenizer.json, a spiece.model, or a folder with a tokenizer.json.

    It is called with a text and gives {"input_ids": [...]}. `rows` is the number of the embedding's token ids. Raises
    ELLAError for a file that is missing, damaged, no T5 tokenizer, or that of a model with another vocabulary.
    """
    path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
    name = file_name(path)
    if not os.path.isfile(path):
        raise ELLAError(f"{name} does not exist as a file; {GET_T5}.")
    if os.path.getsize(path) > LONGEST:
        raise ELLAError(f"{name} is {os.path.getsize(path):,} bytes long, more than any tokenizer; {GET_T5}.")
    try:
        tokenizer = read_tokenizer(path)
        vocabulary = tokenizer.get_vocab()
        ids = tokenizer(PROBE)["input_ids"]
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    except BaseException as error:  # a broken file may make Rust panic, which is no Exception
        raise unreadable(path, "a tokenizer", of_error(error), f"download it again or {GET_T5}") from error
    check_t5(name, vocabulary, ids, rows)
    return tokenizer


def check_t5(name, vocabulary, ids, rows):
    """Raises ELLAError unless a T5 with an embedding of `rows` reads {piece: token id} and `ids`, those of a text."""
    check_vocabulary(name, vocabulary, rows)
    if not ids or ids[-1] != END or not all(0 <= i < rows for i in ids):
        raise ELLAError(f"{name} is no tokenizer of a T5, which ends each prompt with token id {END}; {GET_T5}.")


def read_tokenizer(path):
    if path.endswith("spiece.model"):
        return SentencePieceTokenizer(path)
    from transformers import PreTrainedTokenizerFast  # slow to import, so only when a text encoder is loaded

    return PreTrainedTokenizerFast(tokenizer_file=path)


def check_vocabulary(name, vocabulary, rows):
    """Raises ELLAError unless {piece: token id} has T5's pad and end, and as many ids as an embedding of `rows`."""
    for piece, expected in (("<pad>", PAD), ("</s>", END)):
        found = vocabulary.get(piece)
        if found != expected:
            raise ELLAError(
                f"{name} is no tokenizer of a T5: its {piece} is {'missing' if found is None else found}, where token "
                f"id {expected} is expected; {GET_T5}."
            )
    size = max(vocabulary.values()) + 1
    if not rows - MOST_UNUSED_ROWS <= size <= rows:
        raise ELLAError(
            f"{name} has a vocabulary of {size} token ids, and the language model's embedding has {rows}, so they "
            f"belong to different models; {GET_T5}."
        )
