"""docs/architecture.md against the tree: every room is in it, and everything that it names exists."""

import re
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
PAGE = (REPO / "docs/architecture.md").read_text(encoding="utf-8")
# Files at the top that tools look for there; they are no rooms.
FOR_TOOLS = re.compile(r"\..*|.*\.(md|toml|txt)|LICENSE")


@pytest.fixture(scope="module")
def tracked():
    result = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True)
    if result.returncode:
        pytest.skip("the rooms are those of the files that git tracks, and this is no git checkout")
    return [Path(name) for name in result.stdout.split("\0") if name]


def rooms_on_the_page():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    return {room.rstrip("/") for row in rows for room in re.findall(r"`([^`]+)`", row)}


def test_every_room_is_on_the_page(tracked):
    top = {path.parts[0] for path in tracked if not FOR_TOOLS.fullmatch(path.parts[0])}
    inside = {str(path.parent) for path in tracked if path.parts[0] == "ella_core" and path.suffix == ".py"}
    assert rooms_on_the_page() == top | inside


def test_what_the_page_names_exists():
    names = re.findall(r"`([\w./]+/[\w./]*|[\w]+\.py)`", PAGE)
    folders = ("", "tests/")
    missing = [name for name in names if not any((REPO / folder / name).exists() for folder in folders)]
    assert missing == []


def test_no_room_for_one_file_and_no_long_file(tracked):
    code = [
        path
        for path in tracked
        if path.suffix == ".py" and path.parts[0] in ("ella_core", "nodes", "old_workflows", "training")
    ]
    rooms = {path.parent for path in code}
    small = [room for room in rooms if sum(path.parent == room and path.name != "__init__.py" for path in code) < 2]
    assert small == []
    long = [path for path in code if len((REPO / path).read_text(encoding="utf-8").splitlines()) > 300]
    assert long == []
