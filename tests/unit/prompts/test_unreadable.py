"""Which characters a tokenizer does not know, and how it joins them."""

import pytest

from ella_core.prompts.unreadable import unreadable_runs


@pytest.mark.parametrize(
    "texts, runs",
    [
        (["a {b} ~ c"], ["{", "}", "~"]),
        (["{}~"], ["{}~"]),
        (["{", "}"], ["{", "}"]),  # two weights, so tokenized on their own
        (["\uff5e"], ["~"]),  # a wide tilde, which NFKC makes a plain one
        (["plain"], []),
        ([], []),
    ],
)
def test_runs(texts, runs):
    assert unreadable_runs(texts, lambda character: character in "{}~") == runs
