"""The console in a real browser: sign in, find what waits, decide, and nothing on any page complains.

``KHEISH_TEST_SHOTS`` names a folder for pictures of the pages; without it none are taken.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser, chromium
from tests.support.desk import SECRET
from tests.support.service import ROOT, Service, running
from tests.support.service_api import Api, call

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]
PAGES = {
    "home": "/admin/",
    "approvals": "/admin/sessions_app/approval/?status__exact=pending",
    "runs": "/admin/sessions_app/run/",
    "session": "/admin/sessions_app/session/incident-4821/change/",
    "journal": "/admin/sessions_app/journalentry/",
    "decisions": "/admin/sessions_app/operatordecision/",
    "routes": "/admin/sessions_app/route/",
    "new-route": "/admin/sessions_app/route/new/route/",
    "slots": "/admin/sessions_app/secretslot/",
    "new-connector": "/admin/connectors_app/connector/new/connector/",
    "new-source": "/admin/connectors_app/observationsource/new/source/",
    "new-person": "/admin/connectors_app/chatidentity/new/person/",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(tmp_path_factory.mktemp("console") / "state") as started:
        yield started


@pytest.fixture(scope="module")
def waiting(service: Service) -> dict[str, str]:
    """One run that waits for a yes and one that asks; their ids by what they wait for."""
    api = Api(service.url, service.token)
    command = call("bash", command="echo rolled back", description="Roll checkout back")
    asked = [{"question": "Which region?", "options": [{"label": "east"}, {"label": "west"}]}]
    api.session("incident-4821")
    script = api.script({"text": "May I?", "tool_calls": [command]}, {"text": "It is done."})
    run_id = api.submit("incident-4821", "Checkout is slow", route_id=script)
    api.session("asking")
    asking = api.script(
        {"text": "", "tool_calls": [call("ask_user_question", questions=asked)]}, {"text": "Thanks."}
    )
    asking_run = api.submit("asking", "Where to?", route_id=asking)
    approval = api.until(run_id, "waiting_for_approval")["pending_approval_ids"][0]
    question = api.until(asking_run, "waiting_for_user_question")["pending_question_ids"][0]
    return {"run": run_id, "approval": approval, "question": question, "asking": asking_run}


@pytest.fixture(scope="module")
def filled(service: Service) -> dict[str, str]:
    """Connectors, deliveries, captures, files; the pages of them by name."""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "kheish_site.settings",
        "KHEISH_STATE_DIR": str(service.state_dir),
    }
    command = [sys.executable, "-m", "tests.support.desk"]
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert told.returncode == 0, told.stderr
    pages: dict[str, str] = json.loads(told.stdout.splitlines()[-1])
    return pages


@pytest.fixture(scope="module")
def window(service: Service) -> Iterator[Browser]:
    """Somebody who has signed in."""
    with chromium(service.url) as made:
        made.sign_in(*service.login)
        yield made


@pytest.fixture
def browser(window: Browser, waiting: dict[str, str]) -> Iterator[Browser]:
    window.forget_troubles()
    window.look("desk", "light")
    yield window
    assert window.troubles() == []


@pytest.fixture
def shots() -> Path | None:
    wanted = os.environ.get("KHEISH_TEST_SHOTS")
    if not wanted:
        return None
    folder = Path(wanted)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("width", ["desk", "phone", "small"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_fits_and_is_silent(
    browser: Browser, waiting: dict[str, str], shots: Path | None, width: str, theme: str
) -> None:
    details = {
        "run": f"/admin/sessions_app/run/{waiting['run']}/change/",
        "approval": f"/admin/sessions_app/approval/{waiting['approval']}/change/",
        "answer": f"/admin/sessions_app/userquestion/{waiting['question']}/do/answer/",
    }
    fits(browser, shots, PAGES | details, width, theme)


@pytest.mark.parametrize("width", ["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page_of_connectors_and_captures_fits_and_is_silent(
    browser: Browser, filled: dict[str, str], shots: Path | None, width: str, theme: str
) -> None:
    fits(browser, shots, filled, width, theme)


def fits(browser: Browser, shots: Path | None, pages: dict[str, str], width: str, theme: str) -> None:
    """Look at every page; fail at what sticks out, complains, has no one heading, or tells a secret."""
    browser.look(width, theme)
    for name, page in pages.items():
        browser.open(page)
        if shots is not None:
            browser.shot(shots / f"{name}-{width}-{theme}.png")
        assert browser.overflow() <= 0, name
        assert browser.troubles() == [], name
        assert len(browser.all("h1")) == 1, name
        assert SECRET not in browser.driver.page_source, name
        ground = browser.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(15, 20, 27)") == (theme == "dark"), (name, ground)


def test_undelivered_messages_lead_from_the_first_page_to_their_verbs(
    browser: Browser, filled: dict[str, str]
) -> None:
    browser.open("/admin/")
    assert "1 dead letter, 1 unknown" in browser.text
    browser.driver.find_element("partial link text", "did it arrive?").click()
    assert "It did not, send it again" in browser.wait_for(".object-tools").text


def test_approve_from_the_first_page(browser: Browser, service: Service, waiting: dict[str, str]) -> None:
    browser.open("/admin/")
    browser.driver.find_element("partial link text", "echo rolled back").click()
    page = browser.text
    assert "What will run, exactly" in page and "Checkout is slow" in page
    browser.find("#id_reason").send_keys("the graph agrees")
    browser.find("button.kh-good").click()
    assert "Approved." in browser.wait_for(".messagelist").text
    browser.open("/admin/sessions_app/approval/?status__exact=pending")
    assert waiting["approval"] not in browser.driver.page_source
    browser.open("/admin/sessions_app/approval/?status__exact=allowed")
    assert waiting["approval"] in browser.driver.page_source
    view = Api(service.url, service.token).until(waiting["run"], "completed")
    assert view["outputs"][-1]["content"] == "It is done."
    browser.open(f"/admin/sessions_app/run/{waiting['run']}/change/")
    assert "the graph agrees" in browser.text


def test_answer_with_the_keyboard_alone(browser: Browser, service: Service, waiting: dict[str, str]) -> None:
    browser.open(f"/admin/sessions_app/userquestion/{waiting['question']}/change/")
    browser.driver.find_element("partial link text", "Answer").send_keys(Keys.ENTER)
    browser.wait_for("#id_choice_0_1").send_keys(Keys.SPACE)
    own = browser.find("#id_text_0")
    own.send_keys("closest to people", Keys.TAB, Keys.TAB, Keys.ENTER)
    assert "Answered." in browser.wait_for(".messagelist").text
    Api(service.url, service.token).until(waiting["asking"], "completed")


def test_everything_works_without_scripts(service: Service, waiting: dict[str, str]) -> None:
    with chromium(service.url) as window:
        window.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        window.sign_in(*service.login)
        window.open("/admin/sessions_app/run/")
        assert waiting["run"][-6:] in window.text
