"""What the language model reads of a prompt, as text for an artist: tokens, weights, and what was cut."""

from .prompt_words import body_of, words_of


def report_of_parts(wholes, reads):
    """`token_report` of each part of a prompt, under its number where there are several."""
    reports = [token_report(whole, read) for whole, read in zip(wholes, reads)]
    if len(reports) == 1:
        return reports[0]
    headed = [f"Part {number} of {len(reports)}\n{report}" for number, report in enumerate(reports, 1)]
    return "\n\n".join([f"{sum(map(len, reads))} tokens in {len(reads)} parts, read apart and joined.", *headed])


def token_report(whole, read):
    """Pieces of a prompt at its full length, and the pieces that are read of it -> the report, several lines.

    The two differ where a maximum length cut the prompt, or padded it.
    """
    start, stop = body_of(read)
    starts, ends = read[:start], [piece for piece in read if piece.is_end]
    padding = [piece for piece in read if piece.is_padding]
    numbers = [
        f"{counted(stop - start, 'piece')} of the prompt",
        *(counted(len(added), f"{name} token") for added, name in ((starts, "start"), (ends, "end")) if added),
        f"{len(padding)} padding",
    ]
    lines = [
        f"{len(read)} tokens: {', '.join(numbers)}.",
        *cut_lines(words_of(whole), body_of(whole)[1], stop, len(read)),
        *unreadable_lines(whole),
        "",
        "word | weight | pieces (ids)",
        *(f"start token | {piece.text} ({piece.id})" for piece in starts),
        *(word_line(word) for word in words_of(read)),
        *(f"end token | {piece.text} ({piece.id})" for piece in ends),
    ]
    if padding:
        lines.append(f"padding | {len(padding)} x {padding[0].text} ({padding[0].id})")
    return "\n".join(lines)


def cut_words(whole, read):
    """The Words of a prompt's pieces at full length that are not read, or not whole, where `read` is what is read."""
    stop = body_of(read)[1]
    return [word for word in words_of(whole) if word.stop > stop]


def cut_lines(words, whole, kept, length):
    """What of a prompt's words is not read when its pieces up to the place `kept` are, of those up to `whole`."""
    lost = [word for word in words if word.start >= kept]
    parted = [word for word in words if word.start < kept < word.stop]
    if not lost and not parted:
        return ["Nothing was cut."]
    total = whole - words[0].start
    lines = [f"Cut by max_length {length}: the last {counted(whole - kept, 'piece')} of {total}."]
    for word in parted:
        texts = [piece.text for piece in word.pieces]
        lines.append(f"Cut inside a word: {word.text} is read as {' '.join(texts[: kept - word.start])}.")
    if lost:
        lines.append(f"Words not read ({len(lost)}): {' '.join(word.text for word in lost)}")
    return lines


def unreadable_lines(pieces):
    """A line on the characters of a prompt that the language model has no piece for, where there are any."""
    characters = dict.fromkeys(character for piece in pieces if piece.is_unreadable for character in piece.text)
    if not characters:
        return []
    return [f"The language model can't read these characters, and what they stand for is lost: {' '.join(characters)}"]


def counted(number, noun):
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def word_line(word):
    pieces = "  ".join(
        f"{piece.text} ({piece.id}{', unknown' if piece.is_unreadable else ''})" for piece in word.pieces
    )
    return f"{word.text} | {word.weight:g} | {pieces}"
