"""Imports run one way, from room to room as the table says, and are relative inside the pack.

old_workflows imports the standard library alone; Diagnose reads from it which node ids are the old packs'.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
FOLDERS = ("nodes", "ella_core", "old_workflows")
PACK = [REPO / "__init__.py", *(path for folder in FOLDERS for path in (REPO / folder).rglob("*.py"))]
HOST = {
    "comfy",
    "comfy_api",
    "comfy_execution",
    "comfy_extras",
    "comfyui_version",
    "folder_paths",
    "node_helpers",
    "nodes",
    "execution",
    "server",
}
OPTIONAL = {"gguf"}  # imported where it is installed, with a sentence where it is not
CORE_LIBRARIES = OPTIONAL | {"torch", "transformers", "safetensors", "sentencepiece", "einops", "matplotlib"}
HOST_ROOMS = {"", "nodes", "ella_core.host", "ella_core.host.diagnose"}
ROOMS = {"connectors", "language_models", "prompts", "attention"}
# Which rooms a room may import, itself apart; "ella_core" stands for the files at its root.
MAY_IMPORT = {
    "": {"nodes"},
    "nodes": {"ella_core", "ella_core.host", "ella_core.host.diagnose", "ella_core.prompts"},
    "ella_core.host.diagnose": {
        "old_workflows",
        "ella_core.host",
        "ella_core.connectors",
        "ella_core.language_models",
        "ella_core",
    },
    "ella_core.host": {*(f"ella_core.{room}" for room in ROOMS), "ella_core"},
    "ella_core.attention": {"ella_core.connectors", "ella_core.prompts", "ella_core"},
    "ella_core.prompts": {"ella_core"},
    "ella_core.connectors": {"ella_core"},
    "ella_core.language_models": {"ella_core"},
    # Its public surface: __init__.py alone, see below.
    "ella_core": {"ella_core.connectors", "ella_core.language_models"},
    "old_workflows": set(),
}


def room_of(parts):
    """The room that a dotted name, as a list of its parts, lies in."""
    return next((".".join(parts[:end]) for end in (3, 2, 1) if ".".join(parts[:end]) in MAY_IMPORT), "")


def imports_of(path):
    """(absolute top-level names, absolute names from the repository's root of relative imports) of a file."""
    folder = list(path.relative_to(REPO).parts[:-1])
    absolute, relative = set(), []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            absolute |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            absolute.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            relative.append(folder[: len(folder) - node.level + 1] + (node.module or "").split("."))
    return absolute, relative


def absolute_names(path):
    """The modules of a file's absolute `from ... import`, whole."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 0]


def ids(path):
    return str(path.relative_to(REPO))


@pytest.mark.parametrize("path", PACK, ids=ids)
def test_imports_run_one_way(path):
    room = room_of(list(path.relative_to(REPO).parts[:-1]))
    absolute, relative = imports_of(path)
    others = {room_of(parts) for parts in relative} - {room}
    assert others <= MAY_IMPORT[room]
    if room == "ella_core" and path.name != "__init__.py":
        assert not others
    outside = absolute - set(sys.stdlib_module_names)
    libraries = CORE_LIBRARIES if room != "old_workflows" else set()
    allowed = {"torch", "typing_extensions"} | HOST if room in HOST_ROOMS else libraries
    assert outside <= allowed, f"{outside - allowed} in {room or '__init__'}"


def test_requirements_name_what_is_imported():
    """All of it and nothing else, the host's own modules and typing_extensions, which its node API needs, apart."""
    imported = set().union(*(imports_of(path)[0] for path in PACK)) - set(sys.stdlib_module_names)
    lines = (REPO / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert imported - HOST - OPTIONAL - {"typing_extensions"} == {re.split("[<>=]", line)[0] for line in lines}


def test_the_node_api_is_imported_in_one_module():
    users = [path.name for path in PACK if "comfy_api" in imports_of(path)[0]]
    assert users == ["schema.py"]


def test_importing_the_core_loads_neither_transformers_nor_a_host():
    code = "import sys, ella_core; print(sorted({name.split('.')[0] for name in sys.modules}))"
    output = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)
    assert output.stderr == ""
    modules = set(ast.literal_eval(output.stdout))
    assert "transformers" not in modules and not modules & (HOST - {"nodes"})


def test_evaluation_imports_one_script_of_ours_and_nobody_imports_it():
    for path in (REPO / "evaluation").rglob("*.py"):
        absolute, relative = imports_of(path)
        assert all(parts[0] == "evaluation" for parts in relative), path
        assert not absolute & (HOST | {"ella_core", "old_workflows", "training", "small_world"}), path
        scripts = [
            line for line in path.read_text().splitlines() if line.startswith(("from scripts", "import scripts"))
        ]
        assert all(line.startswith("from scripts.comfyui_server import ") for line in scripts), path
    ours = [
        path for folder in (*FOLDERS, "training", "scripts", "benchmarks") for path in (REPO / folder).rglob("*.py")
    ]
    assert [path for path in ours if "evaluation" in imports_of(path)[0]] == []


def test_training_knows_the_core_and_the_host_through_its_host_files_and_the_pack_knows_no_training():
    for path in (REPO / "training").rglob("*.py"):
        absolute, relative = imports_of(path)
        assert all(parts[0] == "training" for parts in relative), path
        assert not absolute & {"evaluation", "old_workflows", "small_world", "scripts"}, path
        if not path.name.startswith("host_"):
            assert not absolute & HOST, path
            rooms = {room_of(name.split(".")) for name in absolute_names(path) if name.startswith("ella_core")}
            assert rooms <= {"ella_core", "ella_core.connectors", "ella_core.language_models"}, path
    ours = [
        path for folder in (*FOLDERS, "evaluation", "scripts", "benchmarks") for path in (REPO / folder).rglob("*.py")
    ]
    assert [path for path in ours if "training" in imports_of(path)[0]] == []


def test_small_world_knows_training_evaluation_and_core_and_nobody_knows_it():
    for path in (REPO / "small_world").rglob("*.py"):
        absolute, relative = imports_of(path)
        assert all(parts[0] == "small_world" for parts in relative), path
        assert not absolute & {"old_workflows", "scripts"}, path
        assert not absolute & HOST, path
        rooms = {room_of(name.split(".")) for name in absolute_names(path) if name.startswith("ella_core")}
        assert rooms <= {"ella_core", "ella_core.connectors", "ella_core.language_models"}, path
    others = (*FOLDERS, "evaluation", "training", "scripts", "benchmarks")
    ours = [path for folder in others for path in (REPO / folder).rglob("*.py")]
    assert [path for path in ours if "small_world" in imports_of(path)[0]] == []
