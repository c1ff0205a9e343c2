"""ComfyUI's frontend in a real browser: whichever Chromium or Chrome is installed, driven by playwright."""

import shutil
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


class NoBrowser(Exception):
    """No browser is installed, in a sentence."""


@contextmanager
def running_browser():
    """A playwright browser without a window. Raises NoBrowser where none is installed."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        raise NoBrowser(f"No browser was found, none of {', '.join(NAMES)}; install chromium.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@contextmanager
def open_frontend(browser, server, width=1600, height=900):
    """A page with the server's frontend, ready and without its first dialogs; it asks no host but the server."""
    context = browser.new_context(viewport={"width": width, "height": height}, locale="en-US")
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
