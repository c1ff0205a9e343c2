"""What people would write of a scene: a short caption, a typed one, and dense ones of 30 to 144 words.

The short caption is a list of a few words for each shape, as pictures of the web have them; the base model learns
from it. The dense one is what a language model writes when it is asked to describe a picture, and the typed one what a
person asks for. With each caption come the claims that it makes, and only those.
"""

import re
from dataclasses import dataclass
from random import Random

from .claims import APART, NUMBERS, Claim, Looks, plural
from .scenes import Group, Scene

SHORT_WORDS = 28
_ROOM = 21  # words for shapes; the words between them and the count of the rest come on top
_OPENINGS = (
    "The picture shows {n} on a plain white ground.",
    "This is a simple drawing of {n} on white paper.",
    "On an empty white background there {are} {n}.",
    "A clean, flat illustration with {n} and nothing else.",
    "",
)
_THERE_IS = (
    "{Where} there {is} {what}.",
    "{What} {lies} {where}.",
    "You can see {what} {where}.",
    "{Where}, {what} {is} drawn with crisp edges.",
    "{What}, flat and evenly painted, {is} placed {where}.",
)
_RELATED = (
    "{What} {lies} {relation} {other}.",
    "There {is} {what} {relation} {other}.",
    "{Relation} {other} you can see {what}.",
    "Look {relation} {other}: there {is} {what}.",
)
_ALSO = (
    "{The} {lies} {relation} {other}.",
    "Seen together, {the} {is} {relation} {other}.",
    "Note that {the} {is} {relation} {other}.",
)
_FILLERS = (
    "The light is even and nothing casts a shadow.",
    "The edges are sharp and the colours are pure.",
    "The rest of the sheet is left empty.",
    "There is no text and no frame around it.",
    "It looks like a page out of a book for small children.",
    "The style is plain and geometric, without any texture.",
)


@dataclass(frozen=True)
class Caption:
    """A caption's text and what it says of the picture."""

    text: str
    claims: tuple[Claim, ...]


def short_caption(scene: Scene, random: Random) -> Caption:
    """At most `SHORT_WORDS` words, with a few of them for each group in any order; what has no room is counted."""
    groups = list(scene.groups)
    random.shuffle(groups)
    parts, claims, words = [], [], 0
    for position, group in enumerate(groups):
        count, size, colour, kind = group.looks
        looks = Looks(count, size if random.random() < 0.6 else None, colour, kind)
        here = "" if group.inside is not None or random.random() < 0.3 else f" {group.place}"
        inside = []
        part = (str(looks) if random.random() < 0.5 or count > 1 else str(looks).removeprefix("a ")) + here
        if group.inside is not None and random.random() < 0.7:
            outer = _looks(scene.groups[group.inside], size=None)
            part += f" inside {outer}"
            inside = [Claim(looks, "inside", others=(outer,))]
        if words + len(part.split()) > _ROOM:
            left = sum(len(other.shapes) for other in groups[position:])
            parts.append(f"{NUMBERS[left]} more")
            break
        parts.append(part)
        words += len(part.split())
        claims += [*inside, Claim(looks)]
        if here:
            claims.append(Claim(looks, "at", group.place))
    return Caption(random.choice((", ", ", ", " and ")).join(parts), tuple(claims))


def dense_caption(scene: Scene, random: Random) -> Caption:
    """A description of every group: where it is, or how it stands to one that was named before, in several ways."""
    groups = list(range(len(scene.groups)))
    random.shuffle(groups)
    groups.sort(key=lambda i: scene.groups[i].inside is not None)
    count = len(scene.shapes)
    shapes = f"{NUMBERS[count]} {plural('shape', count)}"
    sentences = [random.choice(_OPENINGS).format(n=shapes, are="is" if count == 1 else "are")]
    fillers = random.sample(_FILLERS, len(_FILLERS))
    claims: list[Claim] = []
    named: list[int] = []
    for index in groups:
        group = scene.groups[index]
        looks = _looks(group, size=None if random.random() < 0.12 else group.shapes[0].size)
        related = _related(scene, index, named, random)
        if related and (group.inside is not None or random.random() < 0.3):
            sentence, claim = _relation_sentence(random.choice(_RELATED), looks, *related, scene)
        else:
            claim = Claim(looks, "at", group.place)
            sentence = _fill(random.choice(_THERE_IS), looks, where=_where(group.place))
        sentences.append(sentence)
        claims += [Claim(looks), claim]
        named.append(index)
        if len(named) > 1 and random.random() < 0.25 and (related := _related(scene, index, named[:-1], random)):
            sentence, claim = _relation_sentence(random.choice(_ALSO), _looks(group, size=None), *related, scene)
            sentences.append(sentence)
            claims.append(claim)
        if fillers and random.random() < 0.2:
            sentences.append(fillers.pop())
    while sum(len(sentence.split()) for sentence in sentences) < 30:
        sentences.append(fillers.pop())
    return Caption(" ".join(sentence for sentence in sentences if sentence), tuple(dict.fromkeys(claims)))


def typed_caption(scene: Scene, random: Random) -> Caption:
    """What a person types: one sentence of groups and how they stand to one another, with a place where nothing else
    is said of a group ("a red circle to the left of a large blue square, above them two small green triangles")."""
    groups = list(range(len(scene.groups)))
    random.shuffle(groups)
    groups.sort(key=lambda i: scene.groups[i].inside is not None)
    parts: list[str] = []
    claims: list[Claim] = []
    named: dict[int, Looks] = {}
    for index in groups:
        group = scene.groups[index]
        looks = _looks(group, size=None if random.random() < 0.4 else group.shapes[0].size)
        claims.append(Claim(looks))
        of_all = [
            relation
            for relation in ("to the left of", "to the right of", "above", "below")
            if len(named) in (1, 2) and all(_clearly(relation, group, scene.groups[other]) for other in named)
        ]
        if of_all and group.inside is None and random.random() < 0.8:
            relation = random.choice(of_all)
            if len(named) == 1:
                (first,) = named.values()
                parts = [f"{looks} {relation} {first}"]
                claims = [Claim(first), Claim(looks)]  # where the first lies is left out
            else:
                parts.append(random.choice((f"{relation} them {looks}", f"{looks} {relation} them")))
            claims += [Claim(looks, relation, others=(other,)) for other in named.values()]
        elif (related := _related(scene, index, list(named), random)) and random.random() < 0.6:
            relation, others = related
            claims.append(Claim(looks, relation, others=tuple(named[other] for other in others)))
            parts.append(f"{looks} {relation} {' and '.join(_the(named[other]) for other in others)}")
        else:
            where = "" if group.inside is not None or len(named) == 0 and random.random() < 0.7 else group.place
            claims += [Claim(looks, "at", where)] if where else []
            parts.append(f"{looks} {_where(where)}" if where else str(looks))
        named[index] = looks
    return Caption(", ".join(parts), tuple(dict.fromkeys(claims)))


def words_between() -> frozenset[str]:
    """The words, in lower case, that dense captions have beside shapes, places and relations."""
    sentences = " ".join((*_OPENINGS, *_THERE_IS, *_RELATED, *_ALSO, *_FILLERS)).lower()
    names = {"the", "is", "are", "lies", "lie"}
    return frozenset(re.findall(r"[a-z]+", re.sub(r"\{\w+\}", " ", sentences))) | names


def _looks(group: Group, size: str | None) -> Looks:
    count, _, colour, kind = group.looks
    return Looks(count, size, colour, kind)


def _related(scene: Scene, index: int, named: list[int], random: Random) -> tuple[str, list[int]] | None:
    """A relation of a group to groups that were named before, None where it stands in none."""
    group = scene.groups[index]
    if group.inside is not None and group.inside in named:
        return "inside", [group.inside]
    found = []
    for other in named:
        looks = _looks(scene.groups[other], None)
        found += [
            (relation, [other])
            for relation in ("to the left of", "to the right of", "above", "below")
            if _clearly(relation, group, scene.groups[other])
        ]
        for third in named:
            between = Claim(_looks(group, None), "between", others=(looks, _looks(scene.groups[third], None)))
            if other < third and len(group.shapes) == 1 and between.holds(scene.shapes):
                found.append(("between", [other, third]))
    return random.choice(found) if found else None


def _clearly(relation: str, group: Group, other: Group) -> bool:
    """Whether every shape of the one stands so to every shape of the other, by twice what a judge asks for."""
    axis = "x" if relation in ("to the left of", "to the right of") else "y"
    sign = 1 if relation in ("to the left of", "above") else -1
    return all(sign * (getattr(b, axis) - getattr(a, axis)) > 2 * APART for a in group.shapes for b in other.shapes)


def _relation_sentence(
    template: str, looks: Looks, relation: str, others: list[int], scene: Scene
) -> tuple[str, Claim]:
    named = tuple(_looks(scene.groups[other], None) for other in others)
    text = " and ".join(_the(other) for other in named)
    return _fill(template, looks, relation=relation, other=text), Claim(looks, relation, others=named)


def _where(place: str) -> str:
    if place.endswith("row"):
        return f"in the {place}"
    return {"top": "at the top", "bottom": "at the bottom", "left": "on the left", "right": "on the right"}.get(
        place, f"in the {place}"
    )


def _the(looks: Looks) -> str:
    return f"the {str(looks).removeprefix('a ')}"


def _fill(template: str, looks: Looks, where: str = "", relation: str = "", other: str = "") -> str:
    what, the, many = str(looks), _the(looks), looks.count > 1
    return template.format(
        what=what,
        What=_capital(what),
        the=the,
        The=_capital(the),
        where=where,
        Where=_capital(where),
        relation=relation,
        Relation=_capital(relation),
        other=other,
        **{"is": "are" if many else "is"},
        lies="lie" if many else "lies",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
