"""Text states that are not finite are refused with the weight that made them so."""

import pytest
import torch

from ella_core import ELLAError
from ella_core.prompts.finite_states import check_finite
from ella_core.prompts.prompt_words import Piece

NAN = float("nan")


def pieces(*weights):
    return [Piece(place, f"\u2581word{place}", weight) for place, weight in enumerate(weights)]


def states(count, bad=()):
    found = torch.ones(1, count, 8).half()
    for row in bad:
        found[0, row, 3] = float("inf")
    return found


def test_finite_states_pass():
    check_finite(states(3), pieces(1.0, 300.0, 1.0))


@pytest.mark.parametrize("weight, said", [(1e4, "10000"), (NAN, "nan"), (float("inf"), "inf"), (-2e5, "-200000")])
def test_the_weight_and_its_words_are_named(weight, said):
    with pytest.raises(ELLAError) as error:
        check_finite(states(5, bad=(2, 3)), pieces(1.0, 1.2, weight, weight, 1.0))
    assert f"weighs 'word2 word3' with {said}," in str(error.value)


def test_weights_that_are_no_cause_are_not_blamed():
    with pytest.raises(ELLAError, match="no weights, so its file is damaged"):
        check_finite(states(2, bad=(0,)), pieces(1.0, 1.5))


def test_long_words_are_shortened():
    with pytest.raises(ELLAError) as error:
        check_finite(states(300, bad=range(300)), pieces(*[1e5] * 300))
    assert len(str(error.value)) < 250
