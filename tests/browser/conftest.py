"""A real Chromium and a real service."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver

from tests.support.service import Service, running

ARGUMENTS = (
    "--headless",
    "--no-sandbox",  # the suite may run as root, in a container
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,900",
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the pages of one file."""
    state = tmp_path_factory.mktemp("browser") / "state"
    with running(state, {"KHEISH_APPROVAL_HIGH_MINUTES": "45"}) as started:
        yield started


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    """A fresh browser; the test fails when the console holds an error (a refused script, a missing file)."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(argument)
    started = webdriver.Chrome(options=options, service=Driver(executable_path=shutil.which("chromedriver")))
    started.implicitly_wait(5)
    try:
        yield started
        errors = [line for line in started.get_log("browser") if line["level"] == "SEVERE"]
        assert not errors
    finally:
        started.quit()
