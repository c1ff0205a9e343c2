"""The facts of the released files, wherever they are written for people: workflows, blueprint, README, help pages."""

import json
from pathlib import Path

import pytest

from ella_core import released

REPO = Path(__file__).resolve().parents[2]
FILES = {file.name: file for file in (released.CONNECTOR, released.TEXT_ENCODER)}
GRAPHS = sorted([*(REPO / "workflows").glob("*.json"), *(REPO / "subgraphs").glob("*.json")])


def models_of(tree):
    """Every entry of a "models" list in a workflow, wherever it lies."""
    if isinstance(tree, dict):
        found = tree.get("models") if isinstance(tree.get("models"), list) else []
        return found + [model for value in tree.values() for model in models_of(value)]
    return [model for value in tree for model in models_of(value)] if isinstance(tree, list) else []


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_workflows_offer_the_released_files(path):
    models = {model["name"]: model for model in models_of(json.loads(path.read_text(encoding="utf-8")))}
    own = [name for name in models if released.REPOSITORY in models[name]["url"]]
    assert own
    for name in own:
        assert models[name] == {"name": name, "url": FILES[name].url, "directory": FILES[name].folder}


def test_readme_and_help_pages_say_the_same():
    readme = (REPO / "README.md").read_text(encoding="utf-8")
    for file in FILES.values():
        assert f"| `{file.path}` ({file.size}) | `models/{file.folder}/` |" in readme
    for node_id, file in (("LoadELLA", released.CONNECTOR), ("LoadELLATextEncoder", released.TEXT_ENCODER)):
        for language in ("en", "zh"):
            page = (REPO / "web/docs" / node_id / f"{language}.md").read_text(encoding="utf-8")
            assert f"({file.url})" in page and file.size in page, (node_id, language)


def test_no_other_file_of_the_code_spells_them():
    spelled = [
        str(path.relative_to(REPO))
        for folder in ("ella_core", "nodes")
        for path in (REPO / folder).rglob("*.py")
        if path.name != "released.py" and ("tsc-t5xl" in (text := path.read_text()) or "QQGYLab/ELLA" in text)
    ]
    assert spelled == []
