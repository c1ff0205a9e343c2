"""The words of a prompt as a language model reads them: pieces of any tokenizer, joined where no space is between."""

from __future__ import annotations

from dataclasses import dataclass

SPACE = "\u2581"  # sentencepiece's mark of a space, at the beginning of a piece; here of every tokenizer's


@dataclass(frozen=True)
class Piece:
    """A token id of a prompt, its text with SPACE where a word begins, and the weight that the prompt gives it.

    `is_start` and `is_end` mark what the tokenizer puts around a text, `is_padding` what fills it up to a length.
    `is_unreadable` marks characters that the vocabulary lacks, whose text is what the prompt says there.
    """

    id: int
    text: str
    weight: float = 1.0
    is_start: bool = False
    is_end: bool = False
    is_padding: bool = False
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


def body_of(pieces):
    """(start, stop) of a prompt's own pieces, between those that the tokenizer added; padding comes after them."""
    start = sum(piece.is_start for piece in pieces)
    return start, len(pieces) - sum(piece.is_end or piece.is_padding for piece in pieces)


def words_of(pieces):
    """Pieces of a prompt -> its Words in order, repeated ones each on their own."""
    start, stop = body_of(pieces)
    starts = [place for place in range(start, stop) if place == start or pieces[place].text.startswith(SPACE)]
    stops = [*starts[1:], stop]
    return [Word(tuple(pieces[first:last]), first) for first, last in zip(starts, stops)]
