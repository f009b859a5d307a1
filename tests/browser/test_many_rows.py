"""A verb on more rows than a page shows: chosen, counted, confirmed, and gone through batch by batch."""

import pytest

from kheish_site.cli.client import Client
from tests.browser.browser import chromium
from tests.support.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]
ROWS = 205
"""More than are shown whole."""
QUEUED = "/admin/sessions_app/run/?status__exact=queued&q=storm"


def storm(service: Service) -> Client:
    """A session whose first run waits for a person, and many more behind it."""
    client = Client(service.url, service.token)
    asks = {"text": "May I?", "tool_calls": [{"name": "bash", "arguments": {"command": "true"}}]}
    fields = {"driver": "scripted", "model": "script", "options": {"script": {"turns": [asks]}}}
    client.request("POST", "/v1/routes", {"route_id": "storm", **fields})
    client.sessions("storm").create()
    for number in range(ROWS + 1):
        client.sessions("storm").input(f"alert {number}", route_id="storm")
    return client


def test_all_that_match_are_counted_confirmed_and_done(service: Service) -> None:
    client = storm(service)
    with chromium(service.url) as browser:
        browser.sign_in(*service.login)
        browser.open(QUEUED)
        browser.find("#action-toggle").click()
        browser.find(".actions .question a").click()
        browser.find("select[name=action] option[value=cancel]").click()
        browser.find(".actions button[name=index]").click()
        asked = browser.wait_for(".kh-verb .kh-explain").text
        assert f"{ROWS} match, {ROWS} of them can be cancelled now" in asked
        assert browser.axe() == [] and browser.overflow() <= 0
        browser.find("#id_reason").send_keys("the storm is over")
        browser.find(".kh-buttons button").click()
        assert f"{ROWS} cancelled" in browser.wait_for(".messagelist", 120).text
        assert browser.driver.current_url.endswith(QUEUED)
        assert browser.troubles() == []
    assert client.page("/v1/runs", query={"session_id": "storm", "status": "queued"})["items"] == []
