"""The core as plain Python sees it: the repository on sys.path, no ComfyUI."""

import sys
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
torch.set_num_threads(1)  # the tensors here are tiny, and threads cost more than they save


@pytest.fixture(scope="session")
def data():
    return REPO / "tests" / "data"


def pytest_addoption(parser):
    parser.addoption("--fuzz-seconds", type=float, default=12, help="how long each kind of files is damaged")
    parser.addoption("--fuzz-first", type=int, default=0, help="the number of the first damaged file")
