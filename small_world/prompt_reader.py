"""Reads a prompt that a person wrote into claims, as far as it speaks of this world.

It knows the words that the dense captions are made of; what it reads of a caption are the caption's own claims.
"""

import re
from dataclasses import dataclass, replace

from .captions import words_between
from .claims import NUMBERS, Claim, Looks, plural
from .scenes import COLOURS, KINDS, PLACES, ROWS

_PLACE_NAMES = tuple(place for row in (*PLACES, ROWS) for place in row)
_CORNERS = {f"{a} {b}": f"{c} {b}" for a, c in (("top", "upper"), ("bottom", "lower")) for b in ("left", "right")}
_PLACES = "|".join(sorted((*_PLACE_NAMES, *_CORNERS), key=len, reverse=True))
_KINDS = {plural(kind, count): kind for kind in KINDS for count in (1, 2)}
_COUNTS = {"a": 1, "an": 1} | {name: count for count, name in enumerate(NUMBERS) if count}
_PIECES = re.compile(
    rf"(?P<looks>(?:(?P<the>the) )?(?:(?P<count>{'|'.join(_COUNTS)}) )?(?:(?P<size>small|large) )?"
    rf"(?P<colour>{'|'.join(COLOURS)}) (?P<kind>{'|'.join(sorted(_KINDS, key=len, reverse=True))})\b)"
    r"|(?:(?:to|on) the )?(?P<side>left|right) of\b|(?P<relation>above|below|inside|between)\b"
    rf"|(?:(?:in|at|on) )?(?:the )?(?P<place>{_PLACES})\b"
    r"|(?P<pronoun>it|they|them|both)\b|(?P<link>,|:|and\b)|(?P<word>[^\W_]+)"
)
_WORDS = words_between() | {*_COUNTS, "to", "in", "at", "on", "of", "with", "picture", "shape", "shapes", "more"}
WORLD = (
    f"This world knows {', '.join(plural(kind, 2) for kind in KINDS[:-1])} and {plural(KINDS[-1], 2)}, each named with "
    f"its colour ({', '.join(COLOURS)}), small or large, up to six in a picture, in the {', '.join(PLACES[0])} and so "
    "on, to the left or right of, above, below, inside or between one another."
)


@dataclass(frozen=True)
class Reading:
    """What a prompt claims, and its words (lower case, in order) that this world does not know."""

    claims: tuple[Claim, ...]
    unknown: tuple[str, ...]


def read_prompt(prompt: str) -> Reading:
    """The claims of a prompt, sentence by sentence."""
    reader = _Reader()
    for sentence in re.split(r"[.!?;\n]+", " ".join(prompt.lower().replace("\n", ". ").split())):
        reader.read(list(_PIECES.finditer(sentence)))
    return Reading(tuple(dict.fromkeys(reader.claims)), tuple(dict.fromkeys(reader.unknown)))


class _Reader:
    """Takes sentences one after the other and keeps what was named before."""

    def __init__(self):
        self.claims: list[Claim] = []
        self.unknown: list[str] = []
        self.named: list[Looks] = []

    def read(self, pieces: list[re.Match]) -> None:
        """One sentence. What stands beside a group belongs to it ("a red circle on the left"), unless it opens the
        sentence or a part of it and the group follows ("above them two green triangles")."""
        subject, waiting, position, opens = None, [], 0, None
        while position < len(pieces):
            piece = pieces[position]
            position += 1
            said = None
            if piece["looks"]:
                subject = self._group(piece)
                opens = opens or "group"
                self.claims += [replace(one, looks=subject) for one in waiting]
                waiting = []
            elif piece["side"] or piece["relation"]:
                relation = f"to the {piece['side']} of" if piece["side"] else piece["relation"]
                first = position - 1
                apart = subject if first and not pieces[first - 1]["link"] else None
                position, choices = self._others(relation, pieces, position, apart)
                said = [(relation, None, others) for others in choices]
            elif piece["place"]:
                first = position - 1
                said = [("at", _CORNERS.get(piece["place"], piece["place"]), ())]
            elif piece["pronoun"]:
                subject = self.named[-1] if self.named else None
            elif piece["word"] and piece["word"] not in _WORDS:
                self.unknown.append(piece["word"])
            if said:
                opens = opens or "place"
                starts = first == 0 or bool(pieces[first - 1]["link"])
                follows = position < len(pieces) and bool(pieces[position]["looks"])
                later = subject is None or (starts and (follows or opens == "place"))
                nobody = Looks(1, None, "", "")
                claims = [Claim(nobody if later else subject, *one) for one in said]
                (waiting if later else self.claims).extend(claims)

    def _group(self, piece: re.Match) -> Looks:
        """The group that is named; one that was not named before is claimed to be there."""
        kind, count = _KINDS[piece["kind"]], _COUNTS.get(piece["count"], 1)
        looks = Looks(count, piece["size"], piece["colour"], kind)
        before = [
            one
            for one in self.named
            if (one.colour, one.kind) == (looks.colour, kind) and looks.size in (None, one.size)
        ]
        if piece["the"] and before:
            return looks if piece["count"] else replace(looks, count=before[-1].count)
        self.claims.append(Claim(looks))
        self.named.append(looks)
        return looks

    def _others(self, relation: str, pieces: list[re.Match], position: int, apart: Looks | None):
        """(position behind them, [others of one claim, ...]) of what follows a relation; "them" are all
        groups but `apart`."""
        if position == len(pieces):
            return position, []
        piece = pieces[position]
        if piece["pronoun"]:
            earlier = [one for one in self.named if one != apart]
            if relation == "between":
                return position + 1, [tuple(earlier[-2:])] if len(earlier) > 1 else []
            return position + 1, [(one,) for one in (earlier[-1:] if piece["pronoun"] == "it" else earlier)]
        if not piece["looks"]:
            return position, []
        others = [self._group(piece)]
        position += 1
        if relation == "between":
            if position + 1 < len(pieces) and pieces[position]["link"] and pieces[position + 1]["looks"]:
                others.append(self._group(pieces[position + 1]))
                return position + 2, [tuple(others)]
            return position, []
        return position, [tuple(others)]
