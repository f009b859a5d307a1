"""Deciding in a real browser: by keys alone, with edits, without scripts, two at once, not allowed to."""

from collections.abc import Iterator

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.browser import Browser, chromium
from tests.browser.scenes import PASSWORD, Morning
from tests.support.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]


@pytest.fixture(scope="module")
def window(service: Service, scene: Morning) -> Iterator[Browser]:
    with chromium(service.url) as opened:
        opened.sign_in("nora", PASSWORD)
        yield opened


@pytest.fixture
def browser(window: Browser) -> Iterator[Browser]:
    window.look("desk", "light")
    yield window
    assert window.troubles() == []


def approval(scene: Morning, approval_id: str) -> dict[str, object]:
    return dict(scene.client.get(f"/v1/approvals/{approval_id}"))


def go_to(browser: Browser, key: str) -> None:
    """To one item of the inbox, with keys alone."""
    browser.open("/admin/")
    browser.press("g", "i")
    browser.wait_for("[data-pane]")
    for _ in range(20):
        if key in browser.find(".kh-chosen").get_attribute("href"):
            return
        here = browser.driver.current_url, browser.find(".kh-chosen").get_attribute("href")
        browser.press("j")
        browser.until(lambda here=here: browser.all(".kh-chosen") and browser.driver.current_url != here[0])
        browser.wait_for("html.kh-js")
    raise AssertionError(f"{key} is not in the list")


def test_approving_with_the_keyboard_alone(browser: Browser, scene: Morning) -> None:
    key = scene.key_of("write_file", "wave")
    go_to(browser, key)
    browser.press("a", Keys.ENTER)
    assert "Approved: write_file." in browser.wait_for(".messagelist").text
    decided = approval(scene, key)
    assert (decided["status"], decided["decision"]["principal"]) == ("allowed", "nora")  # type: ignore[index]
    assert key not in browser.find("#kh-asks").get_attribute("innerHTML")


def test_denying_with_the_keyboard_alone(browser: Browser, scene: Morning) -> None:
    key = scene.key_of("write_file", "wave")
    go_to(browser, key)
    browser.press("d")
    browser.press("not on a Friday", Keys.ENTER)
    assert "Denied: write_file." in browser.wait_for(".messagelist").text
    assert approval(scene, key)["decision"]["reason"] == "not on a Friday"  # type: ignore[index]


def test_a_key_that_nobody_armed_decides_nothing(browser: Browser, scene: Morning) -> None:
    key = scene.key_of("read_file", "low")
    browser.open(f"/admin/inbox/{key}/")
    browser.find("[data-reason]").send_keys("hm", Keys.ENTER)
    assert approval(scene, key)["status"] == "pending" and not browser.all(".messagelist")


def test_an_edit_shows_its_difference_and_renames_the_button(browser: Browser, scene: Morning) -> None:
    key = scene.key_of("bash", "wave")
    browser.open(f"/admin/inbox/{key}/")
    browser.press("e")
    area = browser.find("[data-arguments]")
    area.send_keys(Keys.CONTROL, Keys.END)
    area.send_keys("x")
    browser.until(lambda: "This is not JSON" in browser.text)
    assert not browser.find("[data-approve]").is_enabled()
    area.send_keys(Keys.BACKSPACE)
    browser.until(lambda: browser.find("[data-approve]").is_enabled())
    assert browser.find("[data-label]").text == "Approve"
    edited = '{"command": "echo tagged", "description": "Tag the release"}'
    browser.driver.execute_script(
        "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))", area, edited
    )
    browser.until(lambda: "Approve with edits" in browser.find("[data-approve]").text)
    assert '"command": "echo tagged"' in browser.find(".kh-diff-in").text
    browser.find("[data-approve]").click()
    assert "Approved with edits: bash." in browser.wait_for(".messagelist").text
    assert approval(scene, key)["input"]["command"] == "echo tagged"  # type: ignore[index]


def test_two_operators_race_and_the_second_reads_who_and_when(
    browser: Browser, scene: Morning, service: Service
) -> None:
    page, key = scene.inbox("approval", "approval"), scene.key("approval", "approval")
    with chromium(service.url) as other:
        other.sign_in("otto", PASSWORD)
        for one in (browser, other):
            one.open(page)
            one.wait_for("[data-approve]")
        # Otto's page is stopped from hearing of it, as a slow network would do.
        other.driver.execute_cdp_cmd("Network.enable", {})
        other.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/stream*", "*/counts/*"]})
        other.open(page)
        browser.find("[data-approve]").click()
        browser.wait_for(".messagelist")
        other.find("[data-deny]").click()
        other.wait_for(".kh-settled")
        said = other.find(".kh-settled").text
        assert "Already allowed by nora" in said and "ago" in said
        assert not other.all("[data-approve]")
    assert approval(scene, key)["decision"]["principal"] == "nora"  # type: ignore[index]


def test_approving_without_scripts(scene: Morning, service: Service) -> None:
    key = scene.key_of("read_file", "low")
    with chromium(service.url) as plain:
        plain.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
        plain.sign_in("otto", PASSWORD)
        plain.open(scene.run_page("low"))
        assert "Check dependency advisories" in plain.text and "Asks to run read_file" in plain.text
        plain.driver.find_element("partial link text", "Review in inbox").click()
        plain.open(f"/admin/inbox/{key}/")
        assert not plain.find("[data-show-keys]").is_displayed()  # it would do nothing
        plain.find("#kh-reason").send_keys("it only reads")
        plain.find("[data-approve]").click()
        assert "Approved: read_file." in plain.wait_for(".messagelist").text
    assert approval(scene, key)["decision"]["justification"] == "it only reads"  # type: ignore[index]


def test_answering_a_question_with_the_keyboard(browser: Browser, scene: Morning) -> None:
    browser.open(scene.inbox("question", "question"))
    browser.find("input[type=radio]").send_keys(Keys.SPACE)
    browser.press("a", Keys.ENTER)
    assert "Answered: Question." in browser.wait_for(".messagelist").text
    scene.client.runs(scene.run_ids["question"]).wait(timeout_seconds=30)


def test_viewers_look_and_operators_do_not_configure(scene: Morning, service: Service) -> None:
    with chromium(service.url) as window:
        window.sign_in("vera", PASSWORD)
        window.open(scene.inbox("decision", "unknown"))
        assert "ask for the group operator" in window.text
        assert not window.all("#content form button[name=verb]")
        window.open(scene.run_page("low"))
        assert "Cancel…" not in window.text
        window.open("/admin/sessions_app/session/nightly-audit/change/")
        assert not window.all(".kh-say")
        window.open("/admin/sessions_app/route/new/route/")
        assert "ask for the group admin" in window.text
    with chromium(service.url) as window:
        window.sign_in("nora", PASSWORD)
        window.open("/admin/sessions_app/route/")
        assert "New route" not in window.text
        window.open("/admin/sessions_app/route/new/route/")
        assert "ask for the group admin" in window.text
