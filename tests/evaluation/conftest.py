"""The evaluation's own tests; they load no ComfyUI into their process, so the repository's root may be on the path."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from chromium import running_browser

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))
# A shell lets what it runs in the background ignore the interrupt, and so would the commands that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A workflow in API format of the nodes in sleeping_sampler.py.
GRAPH = {
    "1": {"class_type": "WriteText", "inputs": {"text": "a placeholder"}},
    "2": {"class_type": "WriteText", "inputs": {"text": "blurry"}},
    "3": {"class_type": "EmptyLatentImage", "inputs": {"width": 16, "height": 16, "batch_size": 7}},
    "4": {
        "class_type": "SleepingSampler",
        "inputs": {"seed": 5, "seconds": 0, "positive": ["1", 0], "negative": ["2", 0], "latent_image": ["3", 0]},
    },
    "5": {"class_type": "DrawColour", "inputs": {"samples": ["4", 0]}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["5", 0], "filename_prefix": "drawn"}},
}


@pytest.fixture(scope="session")
def comfyui():
    """The folder of a real ComfyUI."""
    if "COMFYUI" not in os.environ:
        raise pytest.UsageError("this needs a ComfyUI; run `bash scripts/test.sh evaluation`, which brings one.")
    return Path(os.environ["COMFYUI"])


@pytest.fixture(scope="session")
def start_server(comfyui):
    """A function (folder, *flags) -> context manager of a ComfyUI server that has this pack and the tests' nodes."""
    from scripts.comfyui_server import make_base, started

    def start(base, *flags):
        if not base.exists():
            base.mkdir(parents=True)
            make_base(
                base, comfyui, {"ELLA": REPO, "sleeping_sampler.py": Path(__file__).with_name("sleeping_sampler.py")}
            )
        return started(comfyui, "--cpu", "--disable-api-nodes", *flags, base=base)

    return start


@pytest.fixture(scope="session")
def servers(start_server, tmp_path_factory):
    """Two running servers; a test may kill the second."""
    bases = [tmp_path_factory.mktemp("server") / "base" for _ in range(2)]
    with ExitStack() as stack, ThreadPoolExecutor() as threads:
        yield list(threads.map(lambda base: stack.enter_context(start_server(base)), bases))


@pytest.fixture(scope="session")
def server(servers):
    return servers[0]


@pytest.fixture
def graph():
    """A function: changes {"node.input": value} -> the tests' workflow with them."""

    def changed(**changes):
        graph = json.loads(json.dumps(GRAPH))
        for place, value in changes.items():
            node, name = place.split("_", 1)
            graph[node.removeprefix("n")]["inputs"][name] = value
        return graph

    return changed


@pytest.fixture
def evaluation(tmp_path):
    """A function: runs `python -m evaluation` with arguments to its end, {"returncode", "stdout", "stderr"}."""

    def run(*arguments, **options):
        command = [sys.executable, "-m", "evaluation", *map(str, arguments)]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=600, **options)

    return run


@pytest.fixture(scope="module")
def browser():
    """For one file of tests alone: while it is open no other test can run an event loop of its own."""
    with running_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser):
    """A function: size of the window, touch -> a page that reaches 127.0.0.1 and files alone.

    `page.asked_outside` lists what else it asked for.
    """
    contexts = []

    def open_one(width=1280, height=900, touch=False):
        context = browser.new_context(viewport={"width": width, "height": height}, has_touch=touch)
        contexts.append(context)
        page = context.new_page()
        page.asked_outside = []

        def let(route):
            if route.request.url.startswith(("http://127.0.0.1:", "file:", "data:", "blob:")):
                return route.continue_()
            page.asked_outside.append(route.request.url)
            return route.abort()

        page.route("**/*", let)
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def screenshot(request):
    """A function: page, name -> a picture of the whole page in the folder that SCREENSHOTS names."""

    def keep(page, name=""):
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(Path(folder) / f"{request.node.name}{name}.png"), full_page=True)

    return keep
