"""Pages that keep up by themselves: new events, other people's decisions, restarts, ten tabs."""

import time
from collections.abc import Iterator

import pytest

from kheish_site.cli.client import RunHandle, path
from kheish_site.screenshots.scene import BY_THEMSELVES
from tests.browser.browser import Browser, chromium
from tests.browser.scenes import Morning
from tests.support.service import Service

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.embedded_only]
TABS = 10


@pytest.fixture
def browser(service: Service, scene: Morning) -> Iterator[Browser]:
    with chromium(service.url) as window:
        window.sign_in(*service.login)
        yield window


def count(browser: Browser) -> str:
    return str(browser.find("[data-waiting]").get_attribute("textContent"))


def decide(scene: Morning, key: str, behavior: str = "deny") -> None:
    scene.client.request("POST", path("approvals", key, "resolve"), {"behavior": behavior})


def asking(scene: Morning, session_id: str, text: str = "Tag it.") -> RunHandle:
    """A run of a session of its own that asks for everything, so that no other test needs it."""
    rules = [{"tool_name_pattern": "*", "behavior": "ask"}]
    scene.client.sessions(session_id).create(permission_rules=rules)
    return scene.client.sessions(session_id).input(text, route_id="release-1.9-0")


def page_of(run: RunHandle) -> str:
    return f"/admin/sessions_app/run/{run.run_id}/change/"


def waits(run: RunHandle) -> list[str]:
    return [str(key) for key in run.get()["pending_approval_ids"]]


def test_a_run_goes_on_before_ones_eyes(browser: Browser, scene: Morning) -> None:
    browser.open(scene.run_page("approval"))
    browser.until(lambda: browser.dot == "live")
    lines = len(browser.all("[data-seq]"))
    decide(scene, scene.key("approval", "approval"))
    browser.until(lambda: "The pod was deleted" in browser.text)
    browser.until(lambda: browser.dot == "ended")
    browser.until(lambda: "completed" in browser.find("[data-part=state]").text)
    seqs = [int(row.get_attribute("data-seq") or 0) for row in browser.all("[data-seq]")]
    assert len(seqs) > lines and seqs == sorted(set(seqs))
    assert browser.troubles() == []


def test_the_dot_says_paused_while_it_is(browser: Browser, scene: Morning) -> None:
    for page in (page_of(asking(scene, "pausing")), "/admin/"):
        browser.open(page)
        browser.until(lambda: browser.dot == "live")
        browser.find("[data-dot]").click()
        browser.until(lambda: browser.dot == "paused")
        browser.find("[data-dot]").click()
        browser.until(lambda: browser.dot == "live")


def test_who_is_signed_out_is_told_and_shown_nothing_else(browser: Browser, scene: Morning) -> None:
    """A page that is still open when its login ends asks for its parts and is sent to the form."""
    run = asking(scene, "signing-out")
    browser.open(page_of(run))
    browser.until(lambda: browser.dot == "live" and "Waits for approval" in browser.text)
    browser.driver.delete_cookie("kheish_session")
    decide(scene, waits(run)[0])
    browser.until(lambda: browser.dot == "out")
    assert not browser.all("#id_username")
    browser.find("[data-dot]").click()
    browser.wait_for("#id_username")


def test_what_happens_is_there_at_once(browser: Browser, scene: Morning) -> None:
    """Within a second where nothing else is to do; how long it took here is printed."""
    run = asking(scene, "at-once")
    browser.open(page_of(run))
    browser.until(lambda: browser.dot == "live" and "Waits for approval" in browser.text)
    lines, key = len(browser.all("[data-seq]")), waits(run)[0]
    begin = time.monotonic()
    decide(scene, key)
    browser.until(lambda: len(browser.all("[data-seq]")) > lines)
    print(f"shown after {(time.monotonic() - begin) * 1000:.0f} ms")


def test_a_list_of_runs_keeps_up_and_never_jumps(browser: Browser, scene: Morning) -> None:
    first = asking(scene, "parade")
    browser.open("/admin/sessions_app/run/?q=parade")
    row = "#result_list tbody tr"
    browser.until(lambda: browser.dot == "live" and "waits for approval" in browser.find(row).text)
    second = scene.client.sessions("parade").input("Tag it again.", route_id="release-1.9-0")
    browser.until(lambda: "1 new" in browser.find(".kh-pill").text if browser.all(".kh-pill") else False)
    assert len(browser.all(row)) == 1
    scene.client.request("POST", path("runs", second.run_id, "cancel"), {})
    scene.client.request("POST", path("runs", first.run_id, "cancel"), {})
    browser.until(lambda: "cancelled" in browser.find(row).text)
    assert len(browser.all(row)) == 1
    browser.find(".kh-pill").click()
    browser.until(lambda: len(browser.all(row)) == 2)
    assert browser.troubles() == []


def test_what_is_chosen_stays_chosen_when_new_rows_are_shown(browser: Browser, scene: Morning) -> None:
    asking(scene, "chosen")
    browser.open("/admin/sessions_app/run/?q=chosen")
    browser.until(lambda: browser.dot == "live")
    browser.find("#result_list tbody input.action-select").click()
    scene.client.sessions("chosen").input("Tag it again.", route_id="release-1.9-0")
    browser.until(lambda: bool(browser.all(".kh-pill")))
    browser.find(".kh-pill").click()
    browser.until(lambda: len(browser.all("#result_list tbody tr")) == 2)
    browser.until(lambda: browser.find(".action-counter").text == "1 of 2 selected")
    assert len(browser.all("#result_list input.action-select:checked")) == 1
    browser.find("#action-toggle").click()
    assert browser.find(".action-counter").text == "2 of 2 selected"
    assert browser.troubles() == []


def test_what_leaves_a_filtered_list_is_gone(browser: Browser, scene: Morning) -> None:
    first, *others = [asking(scene, "leaving", f"Tag it, {number}.") for number in range(3)]
    browser.open("/admin/sessions_app/run/?status__exact=queued&q=leaving")
    row = "#result_list tbody tr"
    browser.until(lambda: browser.dot == "live" and len(browser.all(row)) == 2)
    scene.client.request("POST", path("runs", others[0].run_id, "cancel"), {})
    browser.until(lambda: len(browser.all(row)) == 1)
    scene.client.request("POST", path("runs", others[1].run_id, "cancel"), {})
    browser.until(lambda: "Nothing matches" in browser.text)
    scene.client.request("POST", path("runs", first.run_id, "cancel"), {})


def test_what_others_decide_leaves_the_list_and_locks_the_page(browser: Browser, scene: Morning) -> None:
    mine, theirs = scene.key("approval", "wave", 0), scene.key("approval", "wave", 1)
    browser.open(f"/admin/inbox/{mine}/")
    browser.until(lambda: browser.dot == "live")
    waiting = int(count(browser))
    decide(scene, theirs)
    browser.until(lambda: theirs not in browser.find("#kh-asks").get_attribute("innerHTML"))
    browser.until(lambda: count(browser) == str(waiting - 1))
    assert browser.driver.title.startswith(f"({waiting - 1}) ")
    decide(scene, mine)
    browser.until(lambda: "Already denied by" in browser.text)
    assert not browser.find("[data-approve]").is_enabled()
    assert browser.troubles() == []


def test_new_requests_wait_behind_a_button(browser: Browser, scene: Morning) -> None:
    browser.open("/admin/inbox/")
    browser.until(lambda: browser.dot == "live")
    before = [row.get_attribute("href") for row in browser.all("#kh-asks [data-row]")]
    scene.client.sessions("fresh").create(permission_rules=[{"tool_name_pattern": "*", "behavior": "ask"}])
    run = scene.client.sessions("fresh").input("Tag it.", route_id="release-1.9-0")
    browser.until(lambda: "new" in browser.find(".kh-pill").text if browser.all(".kh-pill") else False)
    assert [row.get_attribute("href") for row in browser.all("#kh-asks [data-row]")] == before
    browser.find(".kh-pill").click()
    assert len(browser.all("#kh-asks [data-row]")) > len(before)
    scene.client.request("POST", path("runs", run.run_id, "cancel"), {})


def test_ten_tabs_all_load_and_all_follow(browser: Browser, scene: Morning) -> None:
    pages = ["/admin/", "/admin/inbox/", "/admin/sessions_app/run/", scene.run_page("low")]
    for number in range(TABS):
        if number:
            browser.driver.switch_to.new_window("tab")
        browser.open(pages[number % len(pages)])
        browser.wait_for(".kh-tabs")
    browser.until(lambda: browser.dot == "live")
    waiting = int(count(browser))
    decide(scene, scene.key("approval", "low", 0))
    for handle in browser.driver.window_handles:
        browser.driver.switch_to.window(handle)
        browser.until(lambda: count(browser) == str(waiting - 1))
        assert browser.driver.title.startswith(f"({waiting - 1}) ")
    for handle in browser.driver.window_handles[:-1]:  # the leader's tab goes, another one takes over
        browser.driver.switch_to.window(handle)
        browser.driver.close()
    browser.driver.switch_to.window(browser.driver.window_handles[0])
    decide(scene, scene.key("approval", "low", 0))
    browser.until(lambda: count(browser) == str(waiting - 2))


def test_a_restart_in_mid_run_loses_and_doubles_nothing(
    browser: Browser, scene: Morning, service: Service
) -> None:
    scene.client.sessions("backfill-again").create(permission_mode=BY_THEMSELVES)
    run = scene.client.sessions("backfill-again").input("Once more.", route_id="backfill-0")
    run_id = run.run_id
    browser.open(page_of(run))
    browser.until(lambda: browser.dot == "live" and "Part 1 of 8" in browser.text)
    service.kill()
    browser.until(lambda: browser.dot in ("reconnecting", "polling"))
    service.start()
    browser.until(lambda: browser.dot == "live", 60)
    browser.until(lambda: "its worker was lost" in browser.text, 60)
    browser.driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    scene.client.request("POST", path("runs", run_id, "cancel"), {})
    browser.until(lambda: browser.dot == "ended", 60)
    written = [entry["seq"] for entry in scene.client.runs(run_id).events()]
    browser.until(lambda: len(browser.all("[data-seq]")) >= len(written))
    assert [int(row.get_attribute("data-seq") or 0) for row in browser.all("[data-seq]")] == written
