"""The console's front door, in a real browser, under the content security policy."""

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]


def sign_in(browser: webdriver.Chrome, service: Service) -> None:
    """Fill in the login form with the login that the first start printed."""
    name, password = service.login
    browser.get(f"{service.url}/admin/")
    browser.find_element(By.NAME, "username").send_keys(name)
    browser.find_element(By.NAME, "password").send_keys(password)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()


def test_the_printed_login_opens_the_console(browser: webdriver.Chrome, service: Service):
    sign_in(browser, service)
    assert "admin" in browser.find_element(By.ID, "user-tools").text.lower()
    sheet = browser.execute_script("return document.styleSheets.length")
    assert sheet > 0


def test_signing_out_closes_it(browser: webdriver.Chrome, service: Service):
    sign_in(browser, service)
    browser.find_element(By.CSS_SELECTOR, ".kh-user summary").click()
    browser.find_element(By.CSS_SELECTOR, "#logout-form button").click()
    WebDriverWait(browser, 30).until(lambda page: not page.find_elements(By.ID, "logout-form"))
    browser.get(f"{service.url}/admin/")
    assert browser.find_element(By.NAME, "username")


def test_the_documentation_is_served_from_the_box(browser: webdriver.Chrome, service: Service):
    sign_in(browser, service)
    browser.get(f"{service.url}/docs/")
    assert browser.find_element(By.CSS_SELECTOR, ".swagger-ui .info .title").text.startswith("Kheish")
