"""One recorded run for all tests of figures and reports, and one browser for all that look at pages."""

import shutil

import pytest

from tests.view.small_runs import recorded_bars

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# One thread for scripts: these pages are small, and another process tests at the same time.
FLAGS = ["--no-sandbox", "--disable-gpu", "--js-flags=--single-threaded"]


@pytest.fixture(scope="session")
def browser():
    """Chromium, without a window: one for all tests, because two cannot be driven in one process."""
    api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """A finished run of eight updates, everything recorded at every step."""
    return recorded_bars(tmp_path_factory.mktemp("recorded") / "run")
