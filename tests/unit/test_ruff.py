"""The rules of pyproject.toml, as ruff finds them kept in the whole repository."""

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("command", [["check", "--quiet"], ["format", "--check", "--diff", "--quiet"]])
def test_ruff_finds_nothing(command):
    found = subprocess.run([sys.executable, "-m", "ruff", *command, "."], cwd=REPO, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
