"""The archive that ComfyUI's registry publishes: what is in it, what must not be, and that the pack loads from it."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomlkit
from comfy_cli.file_utils import zip_files
from PIL import Image

REPO = Path(__file__).resolve().parents[2]
COMFYUI = os.environ["COMFYUI"]
# What users of the archive get; a new top-level file or folder belongs here or into .comfyignore.
SHIPPED = {
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "README.zh.md",
    "__init__.py",
    "ella_core",
    "locales",
    "nodes",
    "old_workflows",
    "pyproject.toml",
    "requirements.txt",
    "scripts",
    "subgraphs",
    "web",
    "workflows",
}
# The registry's scanner holds back a version for any of these. A method .eval() is torch's, not the builtin.
FORBIDDEN = re.compile(
    r"(?<![.\w])(?:eval|exec|compile|__import__)\(|subprocess|os\.(?:environ|getenv|system|popen)|socket|requests|urllib|"
    r"http\.client|aiohttp|pickle\.load|marshal|\.connect\(|\.bind\("
)
LOAD = """
import asyncio, json, sys
comfyui, base, pack = sys.argv[1:]
sys.path.insert(0, comfyui)
from comfy.cli_args import args
args.cpu, args.base_directory, args.disable_api_nodes = True, base, True
import utils.install_util  # before nodes.py puts the folder comfy, which has a utils.py, on the path
import nodes, server
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
server.PromptServer(loop)
before, modules = set(nodes.NODE_CLASS_MAPPINGS), set(sys.modules)
assert loop.run_until_complete(nodes.load_custom_node(pack, module_parent="custom_nodes"))
print(json.dumps([sorted(set(nodes.NODE_CLASS_MAPPINGS) - before), sorted(set(sys.modules) - modules)]))
"""

pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern")  # comfy-cli's own use of pathspec


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The unpacked archive in a host's custom_nodes, under the name that the Manager gives it."""
    tracked = subprocess.run(["git", "ls-files", "--error-unmatch", "pyproject.toml"], cwd=REPO, capture_output=True)
    if tracked.returncode:
        pytest.skip("the archive is made of the files that git tracks, and this is no git checkout")
    base = tmp_path_factory.mktemp("registry")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(REPO)
        zip_files(base / "node.zip")
    folder = base / "custom_nodes/ella"
    with zipfile.ZipFile(base / "node.zip") as file:
        file.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def project():
    return tomlkit.parse((REPO / "pyproject.toml").read_text(encoding="utf-8")).unwrap()


def test_contents(archive):
    assert {path.name for path in archive.iterdir()} <= SHIPPED
    assert [path.name for path in archive.glob("scripts/*")] in ([], ["convert_workflow.py"])
    assert {path.name for path in (archive / "web/docs").iterdir()} >= {"LoadELLA", "ELLAT5TextEncode"}
    assert (archive / "workflows/ELLA text to image.json").is_file()
    assert (archive / "subgraphs/ELLA prompt.json").is_file()
    assert sum(path.stat().st_size for path in archive.rglob("*") if path.is_file()) < 5_000_000


def test_nothing_that_the_scanner_holds_back(archive):
    found = [
        f"{path.relative_to(archive)}:{number}: {line.strip()}"
        for path in sorted(archive.rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="ascii").splitlines(), 1)
        if FORBIDDEN.search(line)
    ]
    assert found == []


def test_the_scanner_s_words_are_recognised():
    bad = ["eval('1')", "x = exec(code)", "import subprocess", "os.environ['A']", "import socket"]
    assert all(FORBIDDEN.search(line) for line in bad)
    assert not FORBIDDEN.search("model.requires_grad_(False).eval()")


@pytest.fixture(scope="module")
def loaded(archive):
    """[node ids, modules] that a fresh host has more after it loaded the archive."""
    base = archive.parents[1]
    command = [sys.executable, "-c", LOAD, COMFYUI, str(base), str(archive)]
    result = subprocess.run(command, cwd=base, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_the_pack_loads_from_the_archive(host, loaded):
    pack = host.pack.__name__ + "."
    assert loaded[0] == sorted(name for name, cls in host.node_classes.items() if cls.__module__.startswith(pack))


def test_the_start_of_the_host_imports_no_more_than_registration_needs(loaded):
    """What only some runs need is imported by them: libraries, and the work of the nodes that look at things."""
    core = {name.partition(".ella_core.")[2] for name in loaded[1]}
    assert "host.sampler_patch" in core
    assert not [name for name in core if name.startswith(("attention.", "host.attention_map", "host.diagnose."))]
    libraries = {name.partition(".")[0] for name in loaded[1]}
    assert not libraries & {"sentencepiece", "matplotlib", "transformers", "einops"}


def test_the_registry_s_own_check(archive, tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "comfy_cli", "--skip-prompt", "node", "validate"]
    result = subprocess.run(command, cwd=archive, env=environment, capture_output=True, text=True)
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert "All validation checks passed" in output and "arning" not in output, output


def test_project(project):
    comfy = project["tool"]["comfy"]
    name = project["project"]["name"]
    assert comfy["PublisherId"] and "comfyui" not in name.lower()
    requirements = (REPO / "requirements.txt").read_text(encoding="utf-8").split()
    assert project["project"]["dependencies"] == requirements
    changelog = (REPO / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changelog, re.MULTILINE)[1] == project["project"]["version"]
    for workflow in (REPO / "workflows").glob("*.json"):
        properties = [node["properties"] for node in json.loads(workflow.read_text(encoding="utf-8"))["nodes"]]
        assert {one["cnr_id"] for one in properties if "cnr_id" in one} <= {name, "comfy-core"}, workflow.name


@pytest.mark.parametrize("key", ["Icon", "Banner"])
def test_pictures_for_the_registry(project, key):
    url = project["tool"]["comfy"][key]
    repository = project["project"]["urls"]["Repository"].removeprefix("https://github.com/")
    prefix = f"https://raw.githubusercontent.com/{repository}/main/"
    assert url.startswith(prefix)
    width, height = Image.open(REPO / url.removeprefix(prefix)).size
    if key == "Icon":
        assert width == height <= 400
    else:
        assert width * 9 == height * 21
