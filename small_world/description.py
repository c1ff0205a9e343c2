"""Says in words what a picture shows, and what of a prompt it gets right."""

from collections.abc import Iterator, Sequence

from .claims import place_of
from .judge import FoundShape
from .prompt_reader import WORLD, Reading


def shown(shapes: Sequence[FoundShape]) -> str:
    """The shapes with their places, as the end of a sentence."""
    if not shapes:
        return "no shape of this world"
    return ", ".join(f"a {shape.size} {shape.colour} {shape.kind} ({place_of(shape)})" for shape in shapes)


def judgement(reading: Reading, shapes: Sequence[FoundShape]) -> Iterator[str]:
    """Lines with how many claims hold, and which do and don't; none where the prompt claims nothing."""
    if not reading.claims:
        return
    right = [str(claim) for claim in reading.claims if claim.holds(shapes)]
    wrong = [str(claim) for claim in reading.claims if not claim.holds(shapes)]
    yield f"{len(right)} of {len(reading.claims)} right{': ' if right else ''}{'; '.join(right)}"
    if wrong:
        yield f"not there: {'; '.join(wrong)}"


def outside(reading: Reading) -> str | None:
    """A sentence on what this world knows where the prompt says more or nothing that it knows, else None."""
    if reading.unknown:
        return f"Of this prompt the small world does not understand: {', '.join(reading.unknown)}. {WORLD}"
    return None if reading.claims else f"The small world finds no shape in this prompt. {WORLD}"
