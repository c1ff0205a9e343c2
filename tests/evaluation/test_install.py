"""pip install .[evaluation] or .[training] in a clone, as their pages say: what pip asks setuptools first."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
ASK = "import setuptools.build_meta as backend; backend.get_requires_for_build_wheel()"


def test_a_clone_can_be_installed_for_its_requirements(tmp_path):
    pytest.importorskip("setuptools")
    for path in REPO.iterdir():
        if path.is_dir() and path.name.isidentifier():
            (tmp_path / path.name).mkdir()  # many folders side by side are what setuptools refuses by itself
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(REPO / name, tmp_path)
    result = subprocess.run([sys.executable, "-c", ASK], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    required = (tmp_path / "ella.egg-info/requires.txt").read_text()
    extras = {name: required.partition(f"[{name}]")[2].partition("\n[")[0] for name in ("evaluation", "training")}
    assert "tyro" in extras["evaluation"] and "aiohttp" in extras["evaluation"]
    assert "litdata" in extras["training"] and "webdataset" in extras["training"]
    assert "tyro" not in required.partition("[")[0] and "litdata" not in required.partition("[")[0]
    assert (tmp_path / "ella.egg-info/top_level.txt").read_text().split() == []
