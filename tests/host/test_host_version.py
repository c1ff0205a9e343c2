"""A host that is too old says so in one sentence, through the real loader."""

import sys
from pathlib import Path

import comfyui_version
import pytest
import tomlkit

REPO = Path(__file__).resolve().parents[2]
SENTENCE = "ELLA needs ComfyUI 0.18.2 or newer, and {}; update ComfyUI."
TOO_OLD = ["0.18.1", "0.3.40", "0.2.7", "0.9.9-dev", "v0.17.2"]
NEW_ENOUGH = ["0.18.2", "0.18.10", "0.19.0", "0.31.0-dev", "v0.30.0", "1.0", "0.30.0+git.1a2b3c", "unknown"]


@pytest.fixture
def load(host, tmp_path, monkeypatch, caplog):
    """Loads the pack under another name as the host loads packs; (success, the log's lines)."""
    import nodes

    (tmp_path / "ella").symlink_to(REPO, target_is_directory=True)
    # Nothing that such a host lacks may be asked for first.
    for module in ("comfy_api.latest", "comfy_execution.graph_utils", "comfy.patcher_extension"):
        monkeypatch.setitem(sys.modules, module, None)

    def load():
        before = dict(nodes.NODE_CLASS_MAPPINGS)
        success = host.loop.run_until_complete(nodes.load_custom_node(str(tmp_path / "ella")))
        assert nodes.NODE_CLASS_MAPPINGS == before
        return success, [line for record in caplog.records for line in record.getMessage().splitlines()]

    return load


def test_an_old_host_reports_one_sentence(load, monkeypatch):
    monkeypatch.setattr(comfyui_version, "__version__", "0.3.40")
    success, lines = load()
    assert not success
    assert lines[-1].endswith("module for custom nodes: " + SENTENCE.format("this is 0.3.40"))


def test_so_does_a_host_without_a_version(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "comfyui_version", None)
    success, lines = load()
    assert not success
    assert lines[-1].endswith(": " + SENTENCE.format("this one is too old to state its version"))
    assert not any("During handling" in line for line in lines)


@pytest.fixture
def check(host):
    return sys.modules[f"{host.pack.__name__}.nodes.host_version"].check_host_version


@pytest.mark.parametrize("version", TOO_OLD)
def test_older_versions_are_refused(check, monkeypatch, version):
    monkeypatch.setattr(comfyui_version, "__version__", version)
    with pytest.raises(ImportError) as error:
        check()
    assert str(error.value) == SENTENCE.format(f"this is {version}")


@pytest.mark.parametrize("version", NEW_ENOUGH)
def test_newer_versions_pass(check, monkeypatch, version):
    monkeypatch.setattr(comfyui_version, "__version__", version)
    check()


def test_the_registry_is_told_the_same_version(host):
    comfy = tomlkit.parse((REPO / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["comfy"]
    oldest = sys.modules[f"{host.pack.__name__}.nodes.host_version"].OLDEST
    assert comfy["requires-comfyui"] == f">={oldest}"
