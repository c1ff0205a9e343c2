"""Which version of the pack this is."""

import re
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
VERSION = re.compile(r'^version = "([^"]+)"$', re.MULTILINE)  # tomllib came with Python 3.11, and 3.10 is supported


def pack_version():
    """The version in pyproject.toml, with the commit in a git checkout: "0.1.0 (commit 1d9ddeb)".

    The registry's archive holds pyproject.toml too, so it is stated there alone.
    """
    try:
        found = VERSION.search((FOLDER / "pyproject.toml").read_text(encoding="utf-8"))
    except OSError:
        found = None
    version = found[1] if found else "of unknown version"
    commit = checked_out_commit()
    return f"{version} (commit {commit})" if commit else version


def checked_out_commit():
    """The first seven digits of the commit in FOLDER, or None where it is no git checkout."""
    try:
        head = (FOLDER / ".git/HEAD").read_text(encoding="utf-8").strip()
        if head.startswith("ref: "):
            head = commit_of(head.removeprefix("ref: "))
    except OSError:
        return None
    return head[:7]


def commit_of(reference):
    """The commit of a branch; git keeps it in a file of its own, or in a list after it tidied up."""
    path = FOLDER / ".git" / reference
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    packed = (FOLDER / ".git/packed-refs").read_text(encoding="utf-8").splitlines()
    return next((line.split()[0] for line in packed if line.endswith(" " + reference)), "")
