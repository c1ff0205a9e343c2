"""Every node has its help page and its names in English and Chinese."""

import ast
import json
import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
DOCS = REPO / "web/docs"
LANGUAGES = ("en", "zh")
IMAGE = re.compile(r"!\[[^]]+\]\(([^)]+)\)")
LINK = re.compile(r"(?<!!)\[[^]]+\]\(([^)]+)\)")


def node_ids():
    """What is written as node_id in the schemas of nodes/."""
    calls = (
        node
        for path in sorted((REPO / "nodes").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    )
    return [keyword.value.value for call in calls for keyword in call.keywords if keyword.arg == "node_id"]


def page(node_id, language):
    return (DOCS / node_id / f"{language}.md").read_text(encoding="utf-8")


def names(language):
    return json.loads((REPO / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))


def key_paths(tree, prefix=()):
    for key, value in tree.items():
        yield from key_paths(value, (*prefix, key)) if isinstance(value, dict) else [(*prefix, key)]


def test_the_nodes_are_found():
    assert {"LoadELLA", "LoadELLATextEncoder", "ELLAT5TextEncode", "ELLAApplyConditioning"} <= set(node_ids())


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("node_id", node_ids())
def test_help_page(node_id, language):
    text = page(node_id, language)
    assert text.startswith("# ")
    images = IMAGE.findall(text)
    assert images, "a help page shows a typical wiring"
    for image in images:
        # ComfyUI puts /extensions/<folder of the pack>/docs/ in front, whichever page the picture is on.
        assert (DOCS / image).is_file(), image
    assert all(link.startswith("https://") for link in LINK.findall(text))


@pytest.mark.parametrize("node_id", node_ids())
def test_the_languages_say_the_same(node_id):
    english, chinese = (page(node_id, language) for language in LANGUAGES)
    assert IMAGE.findall(english) == [image.replace("-zh.", ".") for image in IMAGE.findall(chinese)]
    assert LINK.findall(english) == LINK.findall(chinese)
    assert english.count("\n## ") == chinese.count("\n## ")


def test_chinese_has_every_name_that_english_has():
    english, chinese = (names(language) for language in LANGUAGES)
    assert sorted(key_paths(english)) == sorted(key_paths(chinese))
    assert sorted(english) == sorted(node_ids())


def test_help_needs_no_javascript():
    assert [path for path in (REPO / "web").rglob("*") if path.suffix in (".js", ".mjs", ".html")] == []
