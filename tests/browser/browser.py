"""A headless Chromium that remembers every console error and every violation of the content policy."""

import base64
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.chrome.service import Service as Driver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from kheish_site.testing.browser import shell

WATCH = """
if (!window.kheishViolations) {
  window.kheishViolations = JSON.parse(sessionStorage.getItem('kheishViolations') || '[]');
  document.addEventListener('securitypolicyviolation', event => {
    window.kheishViolations.push(event.violatedDirective + ' ' + event.blockedURI + ' ' + event.sourceFile);
    sessionStorage.setItem('kheishViolations', JSON.stringify(window.kheishViolations));
  });
}
"""
SHAPE = """
const page = document.documentElement;
return [page.scrollWidth - page.clientWidth, getComputedStyle(document.body).backgroundColor];
"""
WIDTHS = {"desk": 1360, "tablet": 768, "zoomed": 680, "phone": 390, "small": 320}
COLOURS = ("color-contrast",)
"""The rules of the accessibility checker that look at colours: all that depends on the theme."""
AXE = """
const [rules, done] = arguments;
const which = rules.length ? {runOnly: {type: 'rule', values: rules}} : {};
axe.run(document, {...which, resultTypes: ['violations'], preload: false}).then(
  found => done(found.violations.map(one => [one.impact, one.id, one.nodes.map(n => n.html).slice(0, 3)])));
"""


def axe_source() -> str:
    """The accessibility checker, as a script."""
    found = importlib.util.find_spec("axe_core_python")
    assert found is not None and found.submodule_search_locations, "axe-core-python is not installed"
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text()


class Browser:
    """One window on one service."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url
        self._theme = ""
        driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        self.look("desk", "light")

    def look(self, width: str, theme: str) -> None:
        """Set the width (one of `WIDTHS`) and the colour scheme the system prefers; nothing moves."""
        narrow = width in ("phone", "small")
        size = {"width": WIDTHS[width], "height": 844 if narrow else 900, "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**size, "mobile": narrow})
        if theme == self._theme:
            return
        # A colour that fades would be judged half-way.
        preferred = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in preferred.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self._theme = theme

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

    def wait_for(self, selector: str, seconds: float = 30) -> WebElement:
        """Wait until there is such an element."""
        return WebDriverWait(self.driver, seconds).until(
            lambda driver: driver.find_element(By.CSS_SELECTOR, selector)
        )

    def until(self, there: Callable[[], Any], seconds: float = 15) -> None:
        """Wait until something is so."""
        # A page that renews itself may do so between a look for a part and the look at it.
        renewed = (StaleElementReferenceException,)
        wait = WebDriverWait(self.driver, seconds, poll_frequency=0.1, ignored_exceptions=renewed)
        try:
            wait.until(lambda _: there())
        except TimeoutException as late:
            raise AssertionError(self.text[:2000]) from late

    def press(self, *keys: str) -> None:
        """Press keys where the focus is."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    @property
    def text(self) -> str:
        """What the page says."""
        return str(self.driver.execute_script("return document.body.innerText"))

    @property
    def dot(self) -> str:
        """What the dot says: live, reconnecting, paused, ended, polling, or "" while it is hidden."""
        found = self.all("[data-dot]:not([hidden])")
        return str(found[0].get_attribute("data-state")) if found else ""

    def troubles(self) -> list[str]:
        """Console errors since the last call, and policy violations since the window opened."""
        logged = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]
        return logged + list(self.driver.execute_script("return window.kheishViolations || []"))

    def strangers(self) -> list[str]:
        """Addresses of other hosts that the page asked for anything."""
        asked = "return performance.getEntriesByType('resource').map(one => one.name)"
        own = urlsplit(self.url).netloc
        return [url for url in self.driver.execute_script(asked) if urlsplit(url).netloc not in (own, "")]

    def axe(self, rules: Sequence[str] = ()) -> list[Any]:
        """Serious and critical findings of the accessibility checker; of these rules if any."""
        if not self.driver.execute_script("return 'axe' in window"):
            self.driver.execute_script(axe_source())
        found = self.driver.execute_async_script(AXE, list(rules))
        return [one for one in found if one[0] in ("serious", "critical")]

    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        return self.shape()[0]

    def shape(self) -> tuple[int, bool]:
        """How many pixels the page is wider than the window, and whether its ground is the dark one."""
        wide, ground = self.driver.execute_script(SHAPE)
        return int(wide), ground == "rgb(15, 20, 27)"

    def weight(self) -> int:
        """How many bytes the page and all it loaded have, uncompressed."""
        sizes = """return JSON.stringify([...performance.getEntriesByType('navigation'),
            ...performance.getEntriesByType('resource')].map(one => one.decodedBodySize))"""
        return int(sum(json.loads(self.driver.execute_script(sizes))))

    def shot(self, file: Path) -> Path:
        """A picture of the whole page."""
        whole = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": whole["width"], "height": min(whole["height"], 3000), "scale": 1}
        asked = {"captureBeyondViewport": True, "clip": clip}
        file.write_bytes(
            base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", asked)["data"])
        )
        return file


_IDLE: list[webdriver.Chrome] = []
"""Windows that nobody uses: to start one takes longer than most tests."""


@contextmanager
def chromium(url: str) -> Iterator[Browser]:
    """A window as if it were new. Needs Debian's chromium-headless-shell and its driver."""
    driver = _IDLE.pop() if _IDLE else started()
    try:
        yield Browser(driver, url)
        _forget(driver, url)
    except BaseException:
        driver.quit()
        raise
    _IDLE.append(driver)


def close_windows() -> None:
    """End all that is idle."""
    while _IDLE:
        _IDLE.pop().quit()


def started() -> webdriver.Chrome:
    """A new window. Who asks closes it."""
    options = webdriver.ChromeOptions()
    options.binary_location = shell()
    for flag in (
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
        "--disable-gpu",
        "--disable-software-rasterizer",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Driver(shutil.which("chromedriver") or "chromedriver"))
    driver.set_script_timeout(60)
    return driver


def _forget(driver: webdriver.Chrome, url: str) -> None:
    """Let nothing be left of who sat here: no tab, no cookie, nothing stored or blocked."""
    first, *others = driver.window_handles
    for handle in others:
        driver.switch_to.window(handle)
        driver.close()
    driver.switch_to.window(first)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    driver.execute_cdp_cmd("Network.enable", {})
    driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    driver.execute_cdp_cmd("Network.disable", {})
    driver.get(f"{url}/healthz")  # a page of the service without scripts
    driver.execute_script("sessionStorage.clear()")
    driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "all"})
    driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    driver.get_log("browser")
