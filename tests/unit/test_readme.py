"""README.zh.md has the commands, file names, numbers and links of README.md, in the same order of sections."""

import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
READMES = ("README.md", "README.zh.md")
# A link that leads from one to the other is the only one that differs.
EACH_OTHER = {"README.md", "README.zh.md"}


def texts():
    return [(REPO / name).read_text(encoding="utf-8") for name in READMES]


@pytest.mark.parametrize(
    "what",
    [
        r"^```\n(.+?)\n```$",  # commands
        r"(?<!`)`([^`\n]+)`(?!`)",  # file names, inputs, options
        r"\]\(([^)]+)\)",  # links
        r"\((\d[\d.]* [MG]B)\)|\uff08(\d[\d.]* [MG]B)\uff09",  # sizes
    ],
    ids=["commands", "names", "links", "sizes"],
)
def test_both_say_the_same(what):
    english, chinese = (
        {"".join(found) for found in re.findall(what, text, re.MULTILINE | re.DOTALL)} - EACH_OTHER for text in texts()
    )
    assert english and english == chinese


def test_both_have_the_same_sections():
    assert len({len(re.findall(r"^#+ ", text, re.MULTILINE)) for text in texts()}) == 1


def test_every_workflow_is_named_and_every_link_leads_somewhere():
    for text in texts():
        named = set(re.findall(r"\| `workflows/(.+?)\.json` \|", text))
        assert named == {path.stem for path in (REPO / "workflows").glob("*.json")}
        links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
        assert all((REPO / link).exists() for link in links)
