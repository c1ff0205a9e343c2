"""The pack's version is the one in pyproject.toml, and the commit git's own."""

import subprocess
from pathlib import Path

import pytest
import tomlkit

from ella_core import pack_version

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git checkout with a pyproject.toml of another version; returns a function that runs git in it."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "ella"\nversion = "7.8.9"\n', encoding="utf-8")
    monkeypatch.setattr(pack_version, "FOLDER", tmp_path)

    def git(*words):
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(tmp_path), *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return git


def test_the_version_is_pyproject_s():
    stated = tomlkit.parse((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert pack_version.pack_version().split(" ")[0] == stated


def test_without_git(checkout):
    assert pack_version.pack_version() == "7.8.9"


@pytest.mark.parametrize("state", ["branch", "packed", "detached"])
def test_a_commit_of_a_checkout(checkout, state):
    checkout("init", "-q")
    assert pack_version.pack_version() == "7.8.9"
    checkout("commit", "-q", "--allow-empty", "-m", "one")
    if state == "packed":
        checkout("pack-refs", "--all")
    elif state == "detached":
        checkout("checkout", "-q", "--detach")
    assert pack_version.pack_version() == f"7.8.9 (commit {checkout('rev-parse', 'HEAD')[:7]})"


def test_without_a_pyproject(tmp_path, monkeypatch):
    monkeypatch.setattr(pack_version, "FOLDER", tmp_path)
    assert pack_version.pack_version() == "of unknown version"
