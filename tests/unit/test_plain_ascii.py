"""The pack's Python is plain ASCII, so that no Windows code page can spoil it."""

from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
FOLDERS = (
    "nodes",
    "ella_core",
    "old_workflows",
    "evaluation",
    "training",
    "small_world",
    "scripts",
    "tests",
    "benchmarks",
)


def test_python_files_are_plain_ascii():
    files = [REPO / "__init__.py", *(path for folder in FOLDERS for path in (REPO / folder).rglob("*.py"))]
    found = [str(path.relative_to(REPO)) for path in files if not path.read_bytes().isascii()]
    assert len(files) > 40 and found == []
