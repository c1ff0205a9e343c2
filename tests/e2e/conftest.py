"""A real ComfyUI server with the pack in its custom_nodes, small random models, and a real browser on its frontend."""

import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import comfyui_server
import pytest
import random_models
from chromium import running_browser
from frontend_page import open_frontend
from in_process_host import import_host

REPO = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI")
if COMFYUI is None:
    raise pytest.UsageError("tests/e2e needs a ComfyUI; run `bash scripts/test.sh`, which brings one.")
DEVICE_FLAGS = comfyui_server.device_flags()


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Small models under the names that the workflows ask for."""
    core = import_host(COMFYUI, cpu=bool(DEVICE_FLAGS))
    folder = tmp_path_factory.mktemp("models")
    random_models.make_checkpoint(str(folder / "checkpoints/v1-5-pruned-emaonly-fp16.safetensors"))
    random_models.make_connector(
        str(folder / "ella/ella-sd1.5-tsc-t5xl.safetensors"), core.connectors.tsc, depth=2, text_dim=32
    )
    random_models.make_controlnet(str(folder / "controlnet/control_v11p_sd15_canny_fp16.safetensors"))
    encoder = folder / "text_encoders/models--google--flan-t5-xl--text_encoder_model.safetensors"
    encoder.parent.mkdir()
    shutil.copy(REPO / "tests/data/t5_overflow/model.safetensors", encoder)
    # Names to choose; nothing is drawn or written with them.
    shutil.copy(encoder, encoder.parent / "qwen3.5_2b_bf16.safetensors")
    shutil.copy(folder / "ella/ella-sd1.5-tsc-t5xl.safetensors", folder / "ella/ella-sdxl.safetensors")
    (folder / "checkpoints/sd_xl_base_1.0.safetensors").symlink_to("v1-5-pruned-emaonly-fp16.safetensors")
    return folder


@contextmanager
def serve(models, base, *flags):
    """A running server with the pack, its folders under `base`, its models those of `models`."""
    comfyui_server.make_base(base, COMFYUI, {"ELLA": REPO}, models)
    with comfyui_server.started(COMFYUI, "--disable-api-nodes", *flags, base=base) as server:
        yield server


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    with serve(models, tmp_path_factory.mktemp("comfyui"), *DEVICE_FLAGS) as running:
        yield running


@pytest.fixture
def server_with(models, tmp_path):
    """A function: flags -> context manager of another server."""
    return lambda *flags: serve(models, tmp_path, *flags)


@pytest.fixture
def restarted(models, tmp_path):
    """A function without arguments: context manager of a server, each time a new one on the same folders."""
    comfyui_server.make_base(tmp_path, COMFYUI, {"ELLA": REPO}, models)
    return lambda: comfyui_server.started(COMFYUI, "--disable-api-nodes", *DEVICE_FLAGS, base=tmp_path)


@pytest.fixture(scope="session")
def workflow():
    """A workflow of the pack, small enough for a test: 64x64 pixels in two steps."""

    def read(name):
        graph = json.loads((REPO / "workflows" / name).read_text(encoding="utf-8"))
        for node in graph["nodes"]:
            if node["type"] == "EmptyLatentImage":
                node["widgets_values"][:2] = [64, 64]
            elif node["type"] == "KSampler":
                node["widgets_values"][2] = 2
        return graph

    return read


@pytest.fixture(scope="session")
def browser():
    with running_browser() as browser:
        yield browser


@pytest.fixture
def page(browser, server):
    """The frontend, ready, without its first dialogs; screenshots go to $SCREENSHOTS where that is set."""
    with open_frontend(browser, server) as page:
        yield page


@pytest.fixture
def put_down(page):
    """Clicks where the node belongs that was chosen in the search box and hangs on the pointer."""

    def click(x, y):
        page.wait_for_function("() => window.app.graph.nodes.some(node => node.flags.ghost)")
        page.wait_for_timeout(500)
        page.mouse.move(x, y)
        page.mouse.click(x, y)
        page.wait_for_function("() => !window.app.graph.nodes.some(node => node.flags.ghost)")

    return click


@pytest.fixture
def screenshot(page, request):
    """Keeps a picture of the page as an artifact, in the folder SCREENSHOTS names, under the test's name."""

    def keep(name=""):
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(Path(folder) / f"{request.node.name}{name}.png"))

    return keep
