"""A headless Chromium that remembers every console error and every violation of the content policy."""

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

WATCH = """
window.kheishViolations = JSON.parse(sessionStorage.getItem('kheishViolations') || '[]');
document.addEventListener('securitypolicyviolation', event => {
  window.kheishViolations.push(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile);
  sessionStorage.setItem('kheishViolations', JSON.stringify(window.kheishViolations));
});
"""
WIDTHS = {"desk": 1360, "phone": 390, "small": 320}


class Browser:
    """One window on one service."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        self.look("desk", "light")

    def look(self, width: str, theme: str) -> None:
        """Set the width (`desk`, `phone`, `small`) and the colour scheme the system prefers."""
        size = {"width": WIDTHS[width], "height": 844 if width != "desk" else 900, "deviceScaleFactor": 1}
        narrow = {**size, "mobile": width != "desk"}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
        scheme = [{"name": "prefers-color-scheme", "value": theme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})

    def open(self, path: str) -> None:
        """Go to a page."""
        self.driver.get(self.url + path)

    def sign_in(self, name: str, password: str) -> None:
        """Through the form, as a person does."""
        self.open("/admin/")
        self.find("#id_username").send_keys(name)
        self.find("#id_password").send_keys(password)
        self.find("#login-form [type=submit]").click()
        self.wait_for("#user-tools")

    def find(self, selector: str) -> WebElement:
        """The first element; fails when there is none."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        """All elements."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait_for(self, selector: str) -> WebElement:
        """Wait until there is such an element."""
        return WebDriverWait(self.driver, 30).until(
            lambda driver: driver.find_element(By.CSS_SELECTOR, selector)
        )

    @property
    def text(self) -> str:
        """What the page says."""
        return self.find("body").text

    def troubles(self) -> list[str]:
        """Console errors since the last call, and policy violations since the window opened."""
        logged = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return logged + list(self.driver.execute_script("return window.kheishViolations || []"))

    def forget_troubles(self) -> None:
        """Begin anew with what ``troubles`` tells."""
        self.driver.get_log("browser")
        self.driver.execute_script("sessionStorage.clear(); window.kheishViolations = []")

    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        return int(self.driver.execute_script(wide))

    def shot(self, file: Path) -> Path:
        """A picture of the whole page."""
        whole = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": whole["width"], "height": min(whole["height"], 3000), "scale": 1}
        asked = {"captureBeyondViewport": True, "clip": clip}
        file.write_bytes(
            base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
        )
        return file


@contextmanager
def chromium(url: str) -> Iterator[Browser]:
    """A browser that ends with the block. Needs Debian's chromium and chromium-driver."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--disable-gpu",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(shutil.which("chromedriver") or "chromedriver"))
    try:
        yield Browser(driver, url)
    finally:
        driver.quit()
