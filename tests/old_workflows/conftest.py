"""The converter as plain Python sees it: the repository on sys.path, no ComfyUI."""

import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))


def pytest_addoption(parser):
    parser.addoption(
        "--random-graphs", type=int, default=400, help="how many random workflows of each kind are converted"
    )


@pytest.fixture(scope="session")
def repo():
    return REPO
