"""What a caption says of a picture, piece by piece: a claim can be asked as a question and checked against shapes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .scenes import COLOURS, KINDS, PIXELS, PLACES, ROWS, Shape

APART = 5.0  # pixels by which one shape must lie further left or higher than another
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
RELATIONS = ("to the left of", "to the right of", "above", "below", "inside", "between")
_SIZES = r"(?:(small|large) )?"
_LOOKS = rf"(a|two|three) {_SIZES}({'|'.join(COLOURS)}) ({'|'.join(KINDS)})s?(?:es)?"


@dataclass(frozen=True)
class Looks:
    """How many shapes of which size (None: any), colour and kind."""

    count: int
    size: str | None
    colour: str
    kind: str

    def among(self, shapes: Sequence[Shape]) -> list[Shape]:
        """Those of `shapes` that look so."""
        return [
            shape
            for shape in shapes
            if (shape.kind, shape.colour) == (self.kind, self.colour) and self.size in (None, shape.size)
        ]

    def __str__(self) -> str:
        number = "a" if self.count == 1 else NUMBERS[self.count]
        size = f"{self.size} " if self.size else ""
        return f"{number} {size}{self.colour} {plural(self.kind, self.count)}"


@dataclass(frozen=True)
class Claim:
    """One piece of what a caption says.

    `relation` is None for "there is", "at" with a `place`, or one of `RELATIONS` with one other group, two for
    "between".
    """

    looks: Looks
    relation: str | None = None
    place: str | None = None
    others: tuple[Looks, ...] = ()

    def holds(self, shapes: Sequence[Shape]) -> bool:
        """Whether these shapes show it. "There is" asks for exactly so many; the rest asks for at least one choice
        of shapes that stand so."""
        found = self.looks.among(shapes)
        if self.relation is None:
            return len(found) == self.looks.count
        if len(found) < self.looks.count:
            return False
        if self.relation == "at":
            return sum(_at(shape, self.place) for shape in found) >= self.looks.count
        others = [other.among(shapes) for other in self.others]
        if not all(others):
            return False
        if self.relation == "between":
            return any(_between(a, b, c) for a in found for b in others[0] for c in others[1])
        stands = _STANDS[self.relation]
        return all(any(stands(a, b) for a in found) for b in others[0]) and (
            self.relation == "inside" or all(any(stands(a, b) for b in others[0]) for a in found)
        )

    def __str__(self) -> str:
        if self.relation is None:
            return str(self.looks)
        if self.relation == "at":
            return f"{self.looks} at the {self.place}"
        return f"{self.looks} {self.relation} {' and '.join(str(other) for other in self.others)}"

    def question(self) -> str:
        """The claim as a question in a fixed form, which `from_question` reads back."""
        return f"Does the picture show {self}?"

    @classmethod
    def from_question(cls, question: str) -> "Claim":
        """The claim that a question of this form asks.

        Raises:
            ValueError: the question is not of this form.
        """
        places = "|".join(place for row in (*PLACES, ROWS) for place in row)
        relation = rf" ({'|'.join(RELATIONS)}) {_LOOKS}(?: and {_LOOKS})?"
        whole = re.fullmatch(rf"Does the picture show {_LOOKS}(?: at the ({places})|{relation})?\?", question)
        if not whole:
            raise ValueError(
                f'"{question}" is not a question of the small world, which starts with "Does the picture show".'
            )
        parts = whole.groups()
        others = tuple(_looks(*parts[i : i + 4]) for i in (6, 10) if parts[i])
        return cls(_looks(*parts[:4]), "at" if parts[4] else parts[5], parts[4], others)


def plural(kind: str, count: int) -> str:
    """The kind's name for so many: "circle", "crosses"."""
    return kind if count == 1 else kind + ("es" if kind.endswith("s") else "s")


def _looks(number: str, size: str | None, colour: str, kind: str) -> Looks:
    return Looks({"a": 1, "two": 2, "three": 3}[number], size, colour, kind)


def place_of(shape: Shape) -> str:
    """The name of the cell, out of `PLACES`, that a shape's centre lies in."""
    row, column = (min(2, max(0, int(v * 3 / PIXELS))) for v in (shape.y, shape.x))
    return PLACES[row][column]


def _at(shape: Shape, place: str) -> bool:
    """Whether a shape's centre lies in the cell, or the row, of this name."""
    cell = place_of(shape)
    return cell == place or any(name == place and cell in row for name, row in zip(ROWS, PLACES))


def _inside(a: Shape, b: Shape) -> bool:
    reach = (b.diameter - a.diameter) / 2 + 1
    return a.diameter < b.diameter and abs(a.x - b.x) <= reach and abs(a.y - b.y) <= reach


def _between(a: Shape, b: Shape, c: Shape) -> bool:
    """a in the middle of a row or a column that b and c end."""
    in_row = max(abs(a.y - b.y), abs(a.y - c.y)) < 2 * APART and min(b.x, c.x) + APART < a.x < max(b.x, c.x) - APART
    in_column = max(abs(a.x - b.x), abs(a.x - c.x)) < 2 * APART and min(b.y, c.y) + APART < a.y < max(b.y, c.y) - APART
    return in_row or in_column


_STANDS = {
    "to the left of": lambda a, b: a.x + APART < b.x,
    "to the right of": lambda a, b: b.x + APART < a.x,
    "above": lambda a, b: a.y + APART < b.y,
    "below": lambda a, b: b.y + APART < a.y,
    "inside": _inside,
}
