"""Text states must be finite: weights of a prompt can leave float16's range, and then every picture is black."""

from __future__ import annotations

from ..errors import ELLAError


def check_finite(states, pieces):
    """Raises ELLAError unless the text states (1, T, text_dim) of a prompt's Pieces, T of them, are all finite.

    The sentence names the first words that are not, and the weight that the prompt gives them.
    """
    rows = states[0].isfinite().all(dim=-1)  # (T,)
    if bool(rows.all()):
        return
    first = int((~rows).nonzero()[0])
    weight = pieces[first].weight
    if weight == 1.0:
        raise ELLAError(
            "The language model's text states are not finite where the prompt has no weights, so its file is damaged; "
            "download it again."
        )
    stop = next((place for place in range(first, len(pieces)) if not same(pieces[place].weight, weight)), len(pieces))
    text = "".join(piece.text for piece in pieces[first:stop]).replace("\u2581", " ").strip()
    raise ELLAError(
        f"The prompt weighs '{shortened(text)}' with {weight:g}, and float16 holds no such text states; use a weight "
        f"near 1, such as (word:1.3)."
    )


def same(weight, other):
    return weight == other or (weight != weight and other != other)  # NaN equals nothing


def shortened(text, most=40):
    return text if len(text) <= most else text[: most - 3] + "..."
