"""A headless Chromium that signs in, looks at a page in one size and theme, and takes a picture."""

import base64
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from kheish_site.testing.browser import shell

SETTLE_SECONDS = 0.8
FLAGS = ("--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--disable-gpu")


class Camera:
    """One window on one service."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        self._url = url

    def sign_in(self, name: str, password: str) -> None:
        """Through the form."""
        self._driver.get(f"{self._url}/admin/")
        self._driver.find_element(By.ID, "id_username").send_keys(name)
        self._driver.find_element(By.ID, "id_password").send_keys(password)
        self._driver.find_element(By.CSS_SELECTOR, "#login-form [type=submit]").click()
        self._wait_for("#user-tools")

    def look(self, width: int, height: int, theme: str) -> None:
        """Set the size of the window and the scheme the system prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def open(self, path: str) -> None:
        """Go to a page and wait until it is live."""
        self._driver.get(self._url + path)
        self._wait_for("[data-dot]:not([hidden])")
        time.sleep(SETTLE_SECONDS)

    def edit(self, text: str) -> None:
        """Write other arguments and wait for their difference."""
        self._driver.find_element(By.CSS_SELECTOR, ".kh-edit summary").click()
        write = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self._driver.execute_script(
            write, self._driver.find_element(By.CSS_SELECTOR, "[data-arguments]"), text
        )
        self._wait_for(".kh-diff")

    def shoot(self, file: Path) -> None:
        """Write what the window shows."""
        taken = self._driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        file.write_bytes(base64.b64decode(taken["data"]))

    def _wait_for(self, selector: str) -> None:
        WebDriverWait(self._driver, 20).until(lambda page: page.find_elements(By.CSS_SELECTOR, selector))


@contextmanager
def camera(url: str) -> Iterator[Camera]:
    """A camera that is put away when the block ends. Needs what ``install_browser`` installs."""
    options = webdriver.ChromeOptions()
    options.binary_location = shell()
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(
        options=options, service=Service(shutil.which("chromedriver") or "chromedriver")
    )
    try:
        yield Camera(driver, url)
    finally:
        driver.quit()
