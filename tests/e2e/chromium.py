"""The real browser of the tests."""

import os
from contextlib import contextmanager

import frontend_page
import pytest


@contextmanager
def running_browser():
    """A playwright browser; without one the tests are skipped, or fail where CI is set."""
    try:
        with frontend_page.running_browser() as browser:
            yield browser
    except frontend_page.NoBrowser as error:
        message = f"NO BROWSER: the tests in the browser do not run. {error}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
