"""Every page of the console, in two themes and five widths: it fits, is silent, is readable, tells no secret.

A page is opened once, and looked at in every width and theme: neither is known to its scripts.
``KHEISH_TEST_SHOTS`` names a folder for pictures of all of them; without it none is taken.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from kheish_site.screenshots.scene import TOKEN
from tests.browser.browser import COLOURS, WIDTHS, Browser, chromium
from tests.browser.scenes import Morning, add_rows
from tests.support.desk import SECRET
from tests.support.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]
HEAVIEST_HOME = 150_000


@pytest.fixture(scope="module")
def scene(scene: Morning) -> Morning:
    add_rows(scene)
    return scene


@pytest.fixture(scope="module")
def window(service: Service, scene: Morning) -> Iterator[Browser]:
    with chromium(service.url) as opened:
        opened.sign_in(*service.login)
        yield opened


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    yield window
    assert window.troubles() == []


@pytest.fixture
def shots() -> Path | None:
    named = os.environ.get("KHEISH_TEST_SHOTS")
    if not named:
        return None
    Path(named).mkdir(parents=True, exist_ok=True)
    return Path(named)


def main_pages(scene: Morning) -> dict[str, str]:
    """The pages of our own, with something on each."""
    return {
        "home": "/admin/",
        "inbox": "/admin/inbox/",
        "inbox-approval": scene.inbox("approval", "approval"),
        "inbox-question": scene.inbox("question", "question"),
        "inbox-decision": scene.inbox("decision", "unknown"),
        "inbox-delivery": next(f"/admin/inbox/{key}/" for key in deliveries(scene)),
        "runs": "/admin/sessions_app/run/",
        "run-waiting": scene.run_page("approval"),
        "run-finished": scene.run_page("finished"),
        "run-failed": scene.run_page("failed"),
        "sessions": "/admin/sessions_app/session/",
        "session": "/admin/sessions_app/session/incident-4821/change/",
        "search": "/admin/search/?q=inc",
        "health": "/admin/health/",
        "tools": "/admin/tools/",
    }


def table_pages() -> dict[str, str]:
    """Tables and forms, one of each sort."""
    return {
        "approvals": "/admin/sessions_app/approval/",
        "journal": "/admin/sessions_app/journalentry/",
        "personas": "/admin/sessions_app/persona/",
        "persona": "/admin/sessions_app/persona/reviewer/change/",
        "new-persona": "/admin/sessions_app/persona/new/persona/",
        "routes": "/admin/sessions_app/route/",
        "new-route": "/admin/sessions_app/route/new/route/",
        "slots": "/admin/sessions_app/secretslot/",
        "workers": "/admin/sessions_app/worker/",
        "users": "/admin/auth/user/",
        "new-connector": "/admin/connectors_app/connector/new/connector/",
        "new-source": "/admin/connectors_app/observationsource/new/source/",
        "new-person": "/admin/connectors_app/chatidentity/new/person/",
    }


def deliveries(scene: Morning) -> list[str]:
    page = scene.client.get("/v1/deliveries", query={"status": "dead_lettered"})
    return [item["delivery_id"] for item in page["items"]]


def test_every_page_of_our_own_fits_and_is_silent(
    browser: Browser, scene: Morning, shots: Path | None
) -> None:
    for name, page in main_pages(scene).items():
        whole(browser, name, page)
        fits(browser, name, shots)
        assert browser.axe(COLOURS) == [], name
        browser.look("desk", "light")
        assert browser.axe() == [], name
        browser.look("phone", "light")
        assert browser.axe() == [], name


def test_tables_and_forms_fit_and_are_silent(browser: Browser, shots: Path | None) -> None:
    for name, page in table_pages().items():
        whole(browser, name, page)
        fits(browser, name, shots)
        assert browser.axe(COLOURS) == [], name
        browser.look("desk", "light")
        assert browser.axe() == [], name


def test_every_page_of_connectors_and_captures_fits_and_is_silent(
    browser: Browser, scene: Morning, shots: Path | None
) -> None:
    for name, page in scene.pages.items():
        whole(browser, name, page)
        fits(browser, name, shots)


BOX = "return arguments[0].getBoundingClientRect().toJSON()"
# In one go: a page that lives puts new parts in the place of old ones at any time.
MENUS = """
return [...document.querySelectorAll(".kh-menu-button, .kh-filter")].map(menu => {
    menu.open = true;
    const box = menu.querySelector("div, ul").getBoundingClientRect().toJSON();
    menu.open = false;
    return box;
});"""
READ = """
const all = selector => document.querySelectorAll(selector).length;
return {headings: all('h1'), heading: document.querySelector('h1')?.innerText,
    saving: all('.submit-row, [name=_save], [name=_continue]'),
    untold: all('time:not([title$=Z], [title$=UTC])'),
    source: document.documentElement.outerHTML};
"""


def whole(browser: Browser, name: str, page: str) -> None:
    """Open a page; fail when it complains, asks strangers, has no one heading, or tells a secret."""
    browser.open(page)
    assert browser.troubles() == [], name
    assert browser.strangers() == [], name
    found = browser.driver.execute_script(READ)
    assert (found["headings"], found["saving"], found["untold"]) == (1, 0, 0), name
    assert "to change" not in found["heading"], name
    assert browser.driver.title.startswith("("), name  # something waits
    assert SECRET not in found["source"] and TOKEN not in found["source"], name


def fits(browser: Browser, name: str, shots: Path | None) -> None:
    """Look at the page in every width and both themes; fail where something sticks out or is not dark."""
    looks = [(width, "light") for width in WIDTHS]
    looks += [(width, "dark") for width in (WIDTHS if shots else ["desk"])]
    for width, theme in looks:
        browser.look(width, theme)
        overflow, is_dark = browser.shape()
        assert overflow <= 0, (name, width)
        assert is_dark == (theme == "dark"), (name, theme)
        if shots is not None:
            browser.shot(shots / f"{name}-{width}-{theme}.png")


def test_the_first_page_is_light(browser: Browser) -> None:
    browser.look("desk", "light")
    browser.open("/admin/")
    assert 20_000 < browser.weight() < HEAVIEST_HOME


def test_a_decision_fits_on_one_screen(browser: Browser, scene: Morning) -> None:
    """Why, for whom, the exact arguments and both buttons, without scrolling at 1360 by 900."""
    browser.look("desk", "light")
    browser.open(scene.inbox("approval", "approval"))
    assert "expires in" in browser.find(".kh-pane-head").text
    for selector in (".kh-pane-head", ".kh-why", ".kh-for", ".kh-exact", "[data-approve]", "[data-deny]"):
        box = browser.find(selector).rect
        assert box["y"] + box["height"] <= 900, selector


def test_buttons_are_large_and_under_the_thumb(browser: Browser, scene: Morning) -> None:
    browser.look("phone", "light")
    browser.open(scene.inbox("approval", "approval"))
    for selector in ("[data-approve]", "[data-deny]"):
        box = browser.driver.execute_script(BOX, browser.find(selector))
        assert box["height"] >= 44 and box["top"] > 844 / 2 and box["bottom"] <= 844, (selector, box)


def test_an_endless_word_sticks_out_of_no_pane(browser: Browser, scene: Morning) -> None:
    """What agents and strangers write is not broken by them."""
    said = ".kh-why, .kh-for dd, .kh-note, legend, .kh-option label, .kh-ask-gist"
    for page in (scene.inbox("approval", "approval"), scene.inbox("question", "question")):
        browser.open(page)
        browser.driver.execute_script(
            "for (const part of document.querySelectorAll(arguments[0])) part.append('W'.repeat(400))", said
        )
        for width in WIDTHS:
            browser.look(width, "light")
            assert browser.overflow() <= 0, (page, width)


def test_an_open_menu_is_all_in_the_window(browser: Browser, scene: Morning) -> None:
    session = "/admin/sessions_app/session/incident-4821/change/"
    for page in (scene.run_page("approval"), scene.run_page("finished"), session, "/admin/sessions_app/run/"):
        browser.open(page)
        for width, pixels in WIDTHS.items():
            browser.look(width, "light")
            boxes = browser.driver.execute_script(MENUS)
            assert boxes, page
            for box in boxes:
                assert box["left"] >= 0 and box["right"] <= pixels, (page, width, box)


def test_what_stays_in_sight_of_a_session_leaves_room_on_a_phone(browser: Browser) -> None:
    browser.open("/admin/sessions_app/session/incident-4821/change/")
    for width in ("phone", "small"):
        browser.look(width, "light")
        assert browser.driver.execute_script(BOX, browser.find(".kh-sticky"))["height"] < 844 / 4, width


COVERED = """
const focused = document.activeElement, box = focused.getBoundingClientRect();
const top = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
const seen = top && (focused.contains(top) || top.contains(focused));
return focused === document.body || seen ? "" : focused.outerHTML;
"""


def test_nothing_covers_what_has_the_focus(browser: Browser, scene: Morning) -> None:
    for width in ("desk", "zoomed"):
        browser.look(width, "light")
        browser.open(scene.run_page("finished"))
        for _ in range(60):
            ActionChains(browser.driver).send_keys(Keys.TAB).perform()
            assert browser.driver.execute_script(COVERED) == "", width
