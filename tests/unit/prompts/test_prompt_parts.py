"""BREAK on a line of its own, and nothing else, parts a prompt."""

import pytest

from ella_core import ELLAError
from ella_core.prompts.prompt_parts import prompt_parts


@pytest.mark.parametrize(
    "text, parts",
    [
        ("a fox\nBREAK\na hen", ["a fox", "a hen"]),
        ("a fox\r\n \tBREAK \r\na hen\r\n\tBREAK", ["a fox", "a hen"]),
        ("BREAK\n\na fox\nBREAK\n \nBREAK\na\nhen", ["a fox", "a\nhen"]),
        ("(a:1.2)\nBREAK\n:) \\( hen", ["(a:1.2)", ":) \\( hen"]),
        ("\\(\nBREAK\nhen", ["\\(", "hen"]),
        ("BREAK", [""]),
        ("", [""]),
        (" a fox\n", [" a fox\n"]),
        ("a BREAK dance\nBREAK it\nbreak\nBREAKS", ["a BREAK dance\nBREAK it\nbreak\nBREAKS"]),
    ],
)
def test_parts(text, parts):
    assert prompt_parts(text) == parts


def test_a_weight_does_not_reach_over_a_break():
    with pytest.raises(ELLAError, match="inside brackets.*close the brackets before BREAK"):
        prompt_parts("(a fox\nBREAK\na hen:1.2)")
