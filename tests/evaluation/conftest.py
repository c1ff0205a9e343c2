"""The evaluation's own tests; they load no ComfyUI, so the repository's root may be on the path."""

import os
import sys
from pathlib import Path

import pytest
from chromium import running_browser

REPO = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPO))


@pytest.fixture(scope="session")
def browser():
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
