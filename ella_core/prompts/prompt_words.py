"""The words of a prompt as the language model reads them: sentencepiece's pieces, joined where no space is between."""

from __future__ import annotations

from dataclasses import dataclass

SPACE = "\u2581"  # sentencepiece's mark of a space, at the beginning of a piece


@dataclass(frozen=True)
class Piece:
    """A token id of a prompt, its text in the tokenizer's vocabulary, and the weight that the prompt gives it.

    `is_end` marks the end token that the tokenizer adds; what comes after it is padding. `is_unreadable` marks
    characters that the vocabulary lacks, whose text is what the prompt says there.
    """

    id: int
    text: str
    weight: float = 1.0
    is_end: bool = False
    is_unreadable: bool = False


@dataclass(frozen=True)
class Word:
    """Pieces up to the next space, so that punctuation belongs to the word it touches.

    `start` and `stop` are its places among the prompt's pieces.
    """

    pieces: tuple[Piece, ...]
    start: int

    @property
    def stop(self):
        return self.start + len(self.pieces)

    @property
    def text(self):
        return "".join(piece.text for piece in self.pieces).replace(SPACE, "") or SPACE

    @property
    def weight(self):
        """The prompt's weight; a weight ends at a space, because the host tokenizes what it weighs on its own."""
        return self.pieces[0].weight


def end_of(pieces):
    """Place of the end token among a prompt's pieces; what comes after it is padding."""
    return max(place for place, piece in enumerate(pieces) if piece.is_end)


def words_of(pieces):
    """Pieces of a prompt, the end token and padding last -> its Words in order, repeated ones each on their own."""
    starts = [
        place for place, piece in enumerate(pieces[: end_of(pieces)]) if place == 0 or piece.text.startswith(SPACE)
    ]
    stops = [*starts[1:], end_of(pieces)]
    return [Word(tuple(pieces[start:stop]), start) for start, stop in zip(starts, stops)]
