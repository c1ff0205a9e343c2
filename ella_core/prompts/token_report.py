"""What the language model reads of a prompt, as text for an artist: tokens, weights, and what was cut."""

from .prompt_words import end_of, words_of


def token_report(whole, read):
    """Pieces of a prompt at its full length, and the pieces that are read of it -> the report, several lines.

    The two differ where a maximum length cut the prompt, or padded it.
    """
    kept = end_of(read)
    padding = len(read) - kept - 1
    lines = [
        f"{len(read)} tokens: {counted(kept, 'piece')} of the prompt, 1 end token, {padding} padding.",
        *cut_lines(words_of(whole), kept, len(read)),
        *unreadable_lines(whole),
        "",
        "word | weight | pieces (ids)",
        *(word_line(word) for word in words_of(read)),
        f"end token | {read[kept].text} ({read[kept].id})",
    ]
    if padding:
        lines.append(f"padding | {padding} x {read[-1].text} ({read[-1].id})")
    return "\n".join(lines)


def cut_lines(words, kept, length):
    """What of a prompt's words is not read when only its first `kept` pieces are."""
    lost = [word for word in words if word.start >= kept]
    parted = [word for word in words if word.start < kept < word.stop]
    if not lost and not parted:
        return ["Nothing was cut."]
    number = words[-1].stop - kept
    lines = [f"Cut by max_length {length}: the last {counted(number, 'piece')} of {words[-1].stop}."]
    for word in parted:
        texts = [piece.text for piece in word.pieces]
        inside = kept - word.start
        lines.append(f"Cut inside a word: {word.text} is read as {' '.join(texts[:inside])}.")
    if lost:
        lines.append(f"Words not read ({len(lost)}): {' '.join(word.text for word in lost)}")
    return lines


def unreadable_lines(pieces):
    """A line on the characters of a prompt that the language model has no piece for, where there are any."""
    characters = dict.fromkeys(character for piece in pieces if piece.is_unreadable for character in piece.text)
    if not characters:
        return []
    return [f"T5 can't read these characters, and what they stand for is lost: {' '.join(characters)}"]


def counted(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def word_line(word):
    pieces = "  ".join(
        f"{piece.text} ({piece.id}{', unknown to T5' if piece.is_unreadable else ''})" for piece in word.pieces
    )
    return f"{word.text} | {word.weight:g} | {pieces}"
