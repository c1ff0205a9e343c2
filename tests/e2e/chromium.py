"""The real browser of the tests: whichever Chromium or Chrome is installed, driven by playwright."""

import os
import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def running_browser():
    """A playwright browser; without one the tests are skipped, or fail where CI is set."""
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        message = f"NO BROWSER: none of {', '.join(NAMES)} was found, so the tests in the browser do not run."
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()
