"""Choices of blocks and heads as an artist writes them."""

import pytest

from ella_core import ELLAError
from ella_core.attention.index_list import read_index_list, write_index_list


@pytest.mark.parametrize(
    "text, expected",
    [
        ("all", [0, 1, 2, 3, 4, 5]),
        (" All ", [0, 1, 2, 3, 4, 5]),
        ("1", [0]),
        ("6", [5]),
        ("1, 3-5", [0, 2, 3, 4]),
        ("3 - 5;1", [0, 2, 3, 4]),
        ("2,2-3,3", [1, 2]),
        ("1\uff0c3", [0, 2]),
    ],
)
def test_choices(text, expected):
    assert read_index_list(text, 6, "blocks") == expected


@pytest.mark.parametrize("text", ["0", "7", "5-7", "5-3", "1-999999999", "1, 9"])
def test_out_of_range(text):
    with pytest.raises(ELLAError, match=r"blocks names .*, and this connector has blocks 1 to 6; .*\.$"):
        read_index_list(text, 6, "blocks")


@pytest.mark.parametrize("text", ["", "one", "1,", "1-", "-1", "1-2-3", "1 2", "1.5", "9" * 5000])
def test_not_a_choice(text):
    with pytest.raises(ELLAError, match=r"where all or numbers such as 1, 3-5 are expected; .* blocks 1 to 6\.$"):
        read_index_list(text, 6, "blocks")


@pytest.mark.parametrize("indices, text", [([0, 2, 3, 4], "1, 3-5"), ([0, 1, 2, 3, 4, 5], "1-6"), ([5], "6")])
def test_written_as_it_is_read(indices, text):
    assert write_index_list(indices) == text
    assert read_index_list(text, 6, "heads") == indices
