"""What a file says, as a sentence quotes it."""

import pytest

from ella_core.errors import LONGEST_QUOTE, file_name, quoted

QUOTED = {
    "gated-gelu": "gated-gelu",
    "two words": '"two words"',
    "": '""',
    "google/flan-t5-xl": "google/flan-t5-xl",
    "/home/anna/t5": '".../t5"',
    "home/anna/t5": '".../t5"',
    "~/t5": '".../t5"',
    "../t5": '".../t5"',
    "C:\\Users\\anna\\t5": '".../t5"',
    "/home/anna/": '".../"',
    "a\nb\u202e\x1b": '"a b  "',
    '`x` and "y"': "\"'x' and 'y'\"",
    7: "7",
    None: "None",
    (1, 2): "(1, 2)",
}


@pytest.mark.parametrize("found", QUOTED, ids=repr)
def test_what_is_quoted(found):
    assert quoted(found) == QUOTED[found]


def test_lists_and_objects_are_named():
    assert quoted([["deep"]]) == "a list" and quoted({"a": 1}) == "an object"


def test_long_texts_keep_both_ends():
    shown = quoted("a" + "x" * 100_000 + "b")
    assert len(shown) == LONGEST_QUOTE and shown.startswith("ax") and shown.endswith("xb") and "..." in shown
    assert len(quoted("\n" * 1000)) == LONGEST_QUOTE + 2
    assert len(quoted(10**4000)) == LONGEST_QUOTE


def test_names_of_files_leave_their_folder():
    assert file_name("/home/anna/t5/") == "t5" and file_name("C:\\a\\my file.sft") == '"my file.sft"'
