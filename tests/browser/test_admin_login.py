"""The console's front door, in a real browser, under the content security policy."""

from collections.abc import Iterator

import pytest

from tests.browser.browser import Browser, chromium
from tests.support.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]


@pytest.fixture
def browser(service: Service) -> Iterator[Browser]:
    """A window in which the login that the first start printed was filled in."""
    with chromium(service.url) as window:
        window.sign_in(*service.login)
        yield window
        assert window.troubles() == []


def test_the_printed_login_opens_the_console(browser: Browser):
    assert "admin" in browser.find("#user-tools").text.lower()
    assert browser.driver.execute_script("return document.styleSheets.length") > 0


def test_signing_out_closes_it(browser: Browser):
    browser.find(".kh-user summary").click()
    browser.find("#logout-form button").click()
    browser.wait_for("body:not(:has(#logout-form))")
    browser.open("/admin/")
    assert browser.find("#id_username")


def test_the_documentation_is_served_from_the_box(browser: Browser):
    browser.open("/docs/")
    assert browser.wait_for(".swagger-ui .info .title").text.startswith("Kheish")
