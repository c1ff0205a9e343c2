"""A real ComfyUI server with the pack in its custom_nodes, small random models, and a real browser on its frontend."""

import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]
COMFYUI = os.environ.get("COMFYUI")
if COMFYUI is None:
    raise pytest.UsageError("tests/e2e needs a ComfyUI; run `bash scripts/test.sh`, which brings one.")
DEVICE_FLAGS = [] if torch.cuda.is_available() else ["--cpu"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def load_by_path(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Server:
    """The server's address and folders, and its HTTP interface."""

    def __init__(self, address, base):
        self.address = address
        self.base = base

    def get(self, path):
        with urllib.request.urlopen(self.address + path) as response:
            return json.load(response)

    def post(self, path, body):
        request = urllib.request.Request(
            self.address + path, json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request) as response:
            return json.loads(response.read() or "null")

    def finished(self, prompt_id, seconds=300):
        """The history of a queued prompt once it ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            history = self.get(f"/history/{prompt_id}")
            if prompt_id in history:
                return history[prompt_id]
            time.sleep(0.3)
        raise TimeoutError(f"{prompt_id} did not end within {seconds} s")

    def picture(self, history):
        """Path of the picture that a prompt saved."""
        (image,) = [image for output in history["outputs"].values() for image in output.get("images", ())]
        return self.base / "output" / image["subfolder"] / image["filename"]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Small models under the names that the workflows ask for."""
    sys.path.insert(0, COMFYUI)
    from comfy.cli_args import args

    args.cpu = not torch.cuda.is_available()
    random_models = load_by_path("random_models", REPO / "scripts/random_models.py")
    core = load_by_path("ella_core", REPO / "ella_core/__init__.py")
    folder = tmp_path_factory.mktemp("models")
    random_models.make_checkpoint(str(folder / "checkpoints/v1-5-pruned-emaonly-fp16.safetensors"))
    random_models.make_connector(
        str(folder / "ella/ella-sd1.5-tsc-t5xl.safetensors"), core.connectors.tsc, depth=2, text_dim=32
    )
    random_models.make_controlnet(str(folder / "controlnet/control_v11p_sd15_canny_fp16.safetensors"))
    encoder = folder / "text_encoders/models--google--flan-t5-xl--text_encoder_model.safetensors"
    encoder.parent.mkdir()
    shutil.copy(REPO / "tests/data/t5_overflow/model.safetensors", encoder)
    return folder


@contextmanager
def serve(models, base, *flags):
    """A running server with the pack, its folders under `base`, its models those of `models`."""
    for folder in ("input", "output", "temp", "user", "custom_nodes"):
        (base / folder).mkdir()
    shutil.copy(Path(COMFYUI) / "input/example.png", base / "input/example.png")
    (base / "models").symlink_to(models, target_is_directory=True)
    (base / "custom_nodes/ELLA").symlink_to(REPO, target_is_directory=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "main.py", "--port", str(port), "--base-directory", str(base), "--disable-api-nodes"]
    command += ["--database-url", "sqlite:///:memory:", *flags]
    log = base / "server.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(command, cwd=COMFYUI, stdout=output, stderr=subprocess.STDOUT)
    try:
        found = Server(f"http://127.0.0.1:{port}", base)
        for _ in range(600):
            if process.poll() is not None:
                raise RuntimeError(f"ComfyUI ended before it was ready:\n{log.read_text()}")
            try:
                found.get("/queue")
                break
            except OSError:
                time.sleep(0.2)
        yield found
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def server(models, tmp_path_factory):
    with serve(models, tmp_path_factory.mktemp("comfyui"), *DEVICE_FLAGS) as running:
        yield running


@pytest.fixture
def server_with(models, tmp_path):
    """A function: flags -> context manager of another server."""
    return lambda *flags: serve(models, tmp_path, *flags)


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
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        message = f"NO BROWSER: none of {', '.join(BROWSERS)} was found, so the tests in the browser do not run."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = [
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, server):
    """The frontend, ready, without its first dialogs; screenshots go to $SCREENSHOTS where that is set."""
    context = browser.new_context(viewport={"width": 1600, "height": 900}, locale="en-US")
    page = context.new_page()
    # The frontend asks hosts outside; whatever is not this server fails at once.
    page.route(
        "**/*",
        lambda route: (
            route.continue_() if route.request.url.startswith((server.address, "data:", "blob:")) else route.abort()
        ),
    )
    server.post("/settings", {"Comfy.Minimap.Visible": False})
    page.goto(server.address)
    page.wait_for_function(
        "() => window.app && window.app.extensionManager && window.LiteGraph?.registered_node_types['LoadELLA']",
        timeout=120000,
    )
    # The frontend opens a graph of its own at start, which may be empty.
    page.wait_for_function("() => window.app.extensionManager.workflow.activeWorkflow?.isLoaded")
    page.wait_for_timeout(1500)
    page.keyboard.press("Escape")
    yield page
    context.close()


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
