"""The pages in a real Chromium: they keep themselves up to date, work by keyboard, in the dark and on a phone, and
nothing that a machine says is ever run.

After each test the browser must have logged nothing and asked nobody but the site.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from adminplane import TOKEN
from pages_site import HOSTILE, NODE1, NODE3, NODE4, NODE5, STRANGER, Site, describe_many, fill, report_image

from bootstrapper.boot.events import Event
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cluster.load import load
from bootstrapper.state.store import Sighting

pytestmark = pytest.mark.interop
pytest.importorskip("selenium", reason="needs selenium (pip install -e '.[dev]')")
from chromium import Chromium  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

PAGES = ("/", "/machines/node1?output=cloud-config", "/machines/node3", "/unknown", "/description", "/events", "/audit",
         "/certificates", "/status", "/description/versions?show=1")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    made = Chromium()
    yield made
    made.driver.quit()


@pytest.fixture
def site(tmp_path: Path, browser: Chromium) -> Iterator[Site]:
    with Site(tmp_path / "site") as made:
        fill(made.plane, time.time())
        browser.visit(made.url)
        yield made
        browser.driver.get("about:blank")


@pytest.fixture
def page(browser: Chromium, site: Site) -> Iterator[Chromium]:
    """Logged in, and watched."""
    browser.log_in(TOKEN)
    yield browser
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(f"{site.url}/")] == []


def row(mac: str) -> str:
    return f"#m-{mac.replace(':', '')}"


def enter(site: Site, mac: str, state: MachineState, **more: object) -> None:
    history = replace(site.store.find_history(mac), state=state, state_at=time.time(), **more)  # type: ignore[arg-type]
    site.store.save_history(mac, history)


def test_log_in_and_out(browser: Chromium, site: Site) -> None:
    browser.open("/machines/node1")
    assert browser.driver.current_url == f"{site.url}/login?next=/machines/node1"
    browser.log_in("nonsense")
    assert browser.text("[role=alert]") == "This is not the token."
    browser.log_in(TOKEN)
    assert browser.text("h1") == "Rack"
    browser.find("form[action='/logout'] button").click()
    browser.wait(lambda: browser.all("#token"))
    browser.open("/")
    assert browser.driver.current_url == f"{site.url}/login"


# -- the rack ------------------------------------------------------------------------------------------------------


def test_the_rack_shows_what_changes(site: Site, page: Chromium) -> None:
    page.run("window.same = true")
    assert page.text(f"{row(NODE5)} .badge") == "armed"
    enter(site, NODE5, MachineState.BOOTING)
    report_image(site.plane, 67, time.time())
    page.wait(lambda: page.text(f"{row(NODE5)} .badge") == "booting")
    page.wait(lambda: page.run("return document.querySelector('#rack progress').value") == 67)
    assert "writing the image 67 %" in page.text("#rack")
    assert page.text("[data-filter=booting] b") == "1"
    assert page.text("[data-filter=armed] b") in ("", "0")
    assert page.text("#news") == "00-25-90-c0-f6-d6: booting"
    assert page.text("#link-state") == "Live"
    assert page.run("return window.same") is True


def test_trouble_of_the_server_appears_by_itself(site: Site, page: Chromium) -> None:
    page.wait(lambda: page.text("#link-state") == "Live")
    told = "another DHCP server, 10.10.14.7 (52:54:00:00:00:07), answers on eth1; turn it off"
    site.store.add_events([Event(time.time(), "", "dhcp", "rival", told, "warning")])
    page.wait(lambda: "another DHCP server, 10.10.14.7" in page.text("#warnings"))
    assert "turn it off" in page.text("#warnings")
    assert page.find("#warnings").get_attribute("aria-live") == "polite"


def test_a_machine_comes_into_the_description(site: Site, page: Chromium) -> None:
    page.find("[name=q]").send_keys("node")
    text = describe_many(site.plane.file.read_text(), 7)
    site.plane.cluster = load(text, "cluster-desc.yaml")
    page.wait(lambda: page.text("#of") == "7")
    assert page.text("#m-525400000007 .host") == "node7"
    assert page.text("#shown") == "6"
    assert page.find("[name=q]").get_attribute("value") == "node"


def test_filters_work_at_once_and_stay_in_the_address(page: Chromium) -> None:
    page.find("[data-filter=failed]").click()
    assert [each.text for each in page.all("#rack .host") if each.is_displayed()] == ["node3"]
    assert page.driver.current_url.endswith("/?state=failed")
    page.find(".chip.all").click()
    page.press("/")
    page.press("10.10.14.12")
    assert [each.text for each in page.all("#rack .host") if each.is_displayed()] == ["node2"]
    page.find("[name=q]").clear()
    page.find("[name=q]").send_keys("no such machine")
    assert page.find("#none").is_displayed()
    page.driver.refresh()
    assert page.text("#shown") == "0"


def test_a_thousand_machines(site: Site, page: Chromium) -> None:
    site.plane.cluster = load(describe_many(site.plane.file.read_text(), 1000), "cluster-desc.yaml")
    page.wait(lambda: page.text("#of") == "1000")
    page.open("/")
    assert len(page.all("#rack tbody tr")) == 1000
    enter(site, "52:54:00:00:03:e8", MachineState.FAILED, reason="no disk")
    page.wait(lambda: page.text("#m-5254000003e8 .badge") == "failed")
    page.find("[name=q]").send_keys("no disk")
    assert page.text("#shown") == "1"


def test_a_server_that_goes_away_and_comes_back(site: Site, browser: Chromium) -> None:
    browser.log_in(TOKEN)
    browser.wait(lambda: browser.text("#link-state") == "Live")
    port = site.stop()
    browser.wait(lambda: browser.text("#link-state") == "Not live")
    told = browser.text("#lost")
    assert re.fullmatch(
        r"No answer from the server; it is asked again every two seconds\. What is shown is of \d\d:\d\d:\d\d\.", told
    )
    assert browser.find("#lost").is_displayed()
    enter(site, NODE5, MachineState.BOOTING)
    site.start(port)
    browser.wait(lambda: browser.text(f"{row(NODE5)} .badge") == "booting")
    assert browser.text("#link-state") == "Live"
    assert not browser.find("#lost").is_displayed()


def test_a_session_that_ends_takes_nothing_away(site: Site, browser: Chromium) -> None:
    browser.log_in(TOKEN)
    browser.open("/machines/node1?output=install")
    browser.find("#order-hold summary").click()
    browser.find("#reason-hold").send_keys("half a reason")
    browser.command("Network.clearBrowserCookies")
    browser.wait(lambda: browser.text("#lost").startswith("You are logged out. What is shown is of "))
    assert browser.find("#reason-hold").get_attribute("value") == "half a reason"
    browser.find("#lost a").click()
    browser.wait(lambda: browser.all("#token"))
    browser.find("#token").send_keys(TOKEN, Keys.ENTER)
    browser.wait(lambda: browser.text("h1") == "node1")
    assert browser.driver.current_url == f"{site.url}/machines/node1?output=install"


def test_a_machine_that_left_the_description_is_said(site: Site, browser: Chromium) -> None:
    browser.log_in(TOKEN)
    browser.open("/machines/node4")
    site.plane.cluster = load(re.sub(r"\n.*host: node4,.*", "", site.plane.file.read_text()), "cluster-desc.yaml")
    browser.wait(lambda: browser.text("#lost").startswith("The server does not have this any more."))


def test_times_are_the_readers_own(site: Site, page: Chromium) -> None:
    page.command("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
    at = time.time()
    site.store.add_events([Event(at, NODE1, "dhcp", "offer", "now"), Event(at - 3 * 86400, NODE1, "dhcp", "offer", "")])
    tokyo = datetime.fromtimestamp(at, timezone(timedelta(hours=9)))
    page.open("/events?machine=node1")
    page.wait(lambda: "now" in page.text("#events"))
    shown = "return [...document.querySelectorAll('#events .clock')].map((each) => [each.textContent, each.title])"
    times = page.run(shown)
    assert [f"{tokyo:%H:%M:%S}", f"{tokyo:%Y-%m-%d %H:%M:%S} GMT+9"] in times
    before = tokyo - timedelta(days=3)
    assert [f"{before:%Y-%m-%d %H:%M:%S}", f"{before:%Y-%m-%d %H:%M:%S} GMT+9"] in times
    page.open("/machines/node3")
    assert page.run("return document.querySelector('.steps time').title").endswith(" GMT+9")
    page.command("Emulation.setTimezoneOverride", timezoneId="")


def test_a_cause_is_copied_for_somebody_else(site: Site, page: Chromium) -> None:
    page.command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    page.open("/machines/node3?output=boot.ipxe")
    page.find("[data-copy=report]").click()
    page.wait(lambda: page.text("[data-copy=report]") == "Copied")
    read = "navigator.clipboard.readText().then(arguments[0])"
    text = page.driver.execute_async_script(read)
    assert text.startswith("node3  0c:c4:7a:82:c5:b8  10.10.14.13\n")
    assert "its disk holds data that is not ours (foreign-data)" in text
    assert "  installer  failed  /dev/sda holds data" in text
    page.find("[data-copy=output]").click()
    page.wait(lambda: page.text("[data-copy=output]") == "Copied")
    assert page.driver.execute_async_script(read).startswith("#!ipxe")
    page.wait(lambda: page.text("[data-copy=output]") == "Copy")


# -- one machine -----------------------------------------------------------------------------------------------------


def test_hold_and_release_by_click(site: Site, page: Chromium) -> None:
    page.open("/machines/node1")
    page.find("#order-hold summary").click()
    page.find("#reason-hold").send_keys("a new disk")
    page.find("#order-hold button").click()
    page.wait(lambda: page.text("#notice p") == "It is on hold.")
    assert page.text(".head .badge") == "on hold"
    assert site.store.find_history(NODE1).held == "a new disk"
    page.find("#order-release summary").click()
    page.find("#order-release button").click()
    page.wait(lambda: page.text("#notice p") == "It is released.")
    assert site.store.find_history(NODE1).held == ""


def test_hold_and_release_by_keyboard(site: Site, page: Chromium) -> None:
    page.open("/machines/node1")
    page.press(Keys.TAB)
    assert page.focused() == "Skip to the content"
    assert page.run("return document.activeElement.getBoundingClientRect().left") >= 0
    page.press(Keys.ENTER)
    assert page.run("return document.activeElement.id") == "main"
    reach(page, "Put on hold")
    page.press(Keys.ENTER, Keys.TAB, "by keyboard", Keys.TAB)
    assert page.focused() == "Put on hold"
    page.press(Keys.ENTER)
    page.wait(lambda: page.text("#notice p") == "It is on hold.")
    assert site.store.find_history(NODE1).held == "by keyboard"
    reach(page, "Release")
    page.press(Keys.ENTER, Keys.TAB, Keys.ENTER)
    page.wait(lambda: page.text("#notice p") == "It is released.")


def reach(page: Chromium, text: str) -> None:
    """By the tab key. Whatever has the focus on the way shows it."""
    for _ in range(40):
        page.press(Keys.TAB)
        assert page.run("return getComputedStyle(document.activeElement).outlineStyle") != "none", page.focused()
        if page.focused() == text:
            return
    raise AssertionError(f"{text!r} is not reached by the tab key")


def test_a_reinstall_wants_the_name_typed(site: Site, page: Chromium) -> None:
    page.open("/machines/node1")
    page.find("#order-reinstall summary").click()
    page.find("#confirm-reinstall").send_keys("node2")
    page.find("#order-reinstall button").click()
    assert page.run("return document.querySelector('#confirm-reinstall').validity.patternMismatch") is True
    assert site.store.find_history(NODE1).wanted == 1
    page.find("#confirm-reinstall").clear()
    page.find("#confirm-reinstall").send_keys("node1", Keys.ENTER)
    page.wait(lambda: page.all("#notice"))
    assert (site.store.find_history(NODE1).wanted, site.store.find_history(NODE1).wipe) == (2, False)


def test_a_machine_keeps_itself_up_to_date_and_what_is_typed(site: Site, page: Chromium) -> None:
    page.open("/machines/node4")
    page.find("#order-forget summary").click()
    page.find("#confirm-forget").send_keys("nod")
    site.store.save_history(NODE4, History(3, 2, MachineState.ARMED, time.time()))
    site.store.add_events([Event(time.time(), NODE4, "dhcp", "offer", "10.10.14.140")])
    page.wait(lambda: page.text(".head .badge") == "armed")
    page.wait(lambda: "10.10.14.140" in page.text("[data-live=boots]"))
    assert page.find("#confirm-forget").get_attribute("value") == "nod"
    assert page.find("#order-forget").get_attribute("open") is not None


def test_a_failed_machine_says_why(page: Chromium) -> None:
    page.open("/machines/node3")
    assert page.text("#diagnosis-title") == "its disk holds data that is not ours"
    assert page.find("#m-boots, .boot .steps").is_displayed()
    page.find(".tabs a[href*='output=boot.ipxe']").click()
    page.wait(lambda: page.text(".text").startswith("#!ipxe"))


# -- hostile machines --------------------------------------------------------------------------------------------------


def test_nothing_of_a_machine_is_run(site: Site, page: Chromium) -> None:
    now = time.time()
    site.store.save_sightings([Sighting(STRANGER, now, now, 1, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)])
    enter(site, NODE5, MachineState.FAILED, reason=HOSTILE)
    site.store.add_events([Event(now, mac, HOSTILE, HOSTILE, HOSTILE, "error") for mac in (NODE3, NODE5, "")])
    page.wait(lambda: HOSTILE in page.text(f"{row(NODE5)} .why"))
    for path, selector in (("/", "#rack"), ("/machines/node3", "[data-live=events]"), ("/events", "#feed"),
                           ("/unknown", "main table"), (f"/machines/{NODE5}", "main")):  # fmt: skip
        page.open(path)
        assert HOSTILE in page.text(selector), path
        site.store.add_events([Event(time.time(), NODE3, "dhcp", "offer", f"{path} {HOSTILE}")])
        if path in ("/machines/node3", "/events"):
            page.wait(lambda path=path, selector=selector: f"{path} {HOSTILE}" in page.text(selector))
        assert page.run("return window.bad === undefined && document.images.length === 0"), path
        assert page.run("return document.querySelectorAll('main script').length") == 0


def test_a_hostile_name_in_the_editor(site: Site, page: Chromium) -> None:
    page.open("/description")
    type_into(page, page.run("return document.getElementById('text').value") + f"\n{HOSTILE}: {HOSTILE}\n")
    page.wait(lambda: re.match(r"\d+ problem", page.text("#verdict")))
    assert page.run("return window.bad === undefined && document.images.length === 0")


def test_the_policy_holds_even_if_something_got_in(browser: Chromium, site: Site) -> None:
    browser.log_in(TOKEN)
    browser.run(
        """
        document.body.insertAdjacentHTML("beforeend", '<img src="/nothing.png" onerror="window.bad = 1">');
        const script = document.createElement("script");
        script.textContent = "window.bad = 2";
        document.body.append(script);
        const other = document.createElement("script");
        other.src = "https://other.example/x.js";
        document.body.append(other);
        const style = document.createElement("div");
        style.setAttribute("style", "position: fixed");
        document.body.append(style);
        window.styled = getComputedStyle(style).position;
        """
    )
    complaints = browser.wait(lambda: [text for text in browser.complaints() if "Content Security Policy" in text])
    assert complaints
    assert browser.run("return window.bad") is None
    assert browser.run("return window.styled") == "static"
    assert [url for url in browser.requests() if not url.startswith(site.url)] == []


# -- unknown machines and the description ------------------------------------------------------------------------------


def type_into(page: Chromium, text: str) -> None:
    """As pasting does: the whole text at once."""
    page.run(
        "const t = document.getElementById('text'); t.value = arguments[0]; t.dispatchEvent(new Event('input'))", text
    )


def test_one_click_puts_a_machine_into_the_editor(page: Chromium) -> None:
    page.open("/unknown")
    page.find(f"a[href*='adopt={STRANGER}']").click()
    page.wait(lambda: page.all("#text"))
    chosen = "const t = document.getElementById('text'); return t.value.slice(t.selectionStart, t.selectionEnd)"
    assert page.run(chosen) == '  - mac: "52:54:00:12:34:56"'
    page.wait(lambda: page.text("#verdict").startswith("No problems"))


def test_a_machine_is_dismissed_and_comes_back_by_itself(site: Site, page: Chromium) -> None:
    page.open("/unknown")
    page.find(f"form[action='/unknown/{STRANGER}/dismiss'] button").click()
    page.wait(lambda: page.text("#notice").startswith("Dismissed"))
    assert STRANGER not in page.text("main table")
    site.store.save_sightings([Sighting(STRANGER, time.time(), time.time(), 1, "again")])
    page.wait(lambda: STRANGER in page.text("main"))


def test_the_editor_flags_saves_and_takes_back(site: Site, page: Chromium) -> None:
    old = site.plane.file.read_text()
    new = old.replace("host: node4", "host: node44")
    line = next(number for number, each in enumerate(old.splitlines(), 1) if "host: node4," in each)
    page.open("/description")
    page.wait(lambda: page.text("#verdict").startswith("No problems"))
    assert page.run("return document.getElementById('gutter').children.length") == len(old.split("\n"))

    type_into(page, old.replace("host: node4, roles: [worker]", "host: node4, roles: [worke]"))
    page.wait(lambda: page.text("#verdict") == "1 problem")
    assert page.text("#gutter .bad") == str(line)
    page.find("#problems .line").click()
    assert "roles: [worke]" in page.run(
        "const t = document.getElementById('text'); return t.value.slice(t.selectionStart, t.selectionEnd)"
    )

    type_into(page, new)
    page.wait(lambda: page.text("#verdict").startswith("No problems"))
    assert page.all("#gutter .bad") == []
    assert page.find("#save").get_attribute("disabled") is not None
    page.find("button[value=review]").click()
    page.wait(lambda: page.all("#plan"))
    assert "node44" in page.text("#plan")
    place = "const it = document.querySelector(arguments[0]).getBoundingClientRect(); return [it.top, it.bottom]"
    (save_top, _), (plan_top, plan_bottom) = page.run(place, "#save"), page.run(place, "#plan")
    assert 0 <= save_top < plan_top, "the button that saves is in sight"
    assert plan_top < 300 or plan_bottom <= page.run("return innerHeight"), "and so is the plan"
    type_into(page, new + "\n")
    assert page.find("#save").get_attribute("disabled") is not None
    assert "Changed since" in page.text("#save-hint")
    type_into(page, new)
    page.find("#save").click()
    page.wait(lambda: page.text("#notice p") == "Saved, and in force.")
    assert site.plane.file.read_text() == new

    page.open("/description/versions")
    page.find("a[href*='show=2']").click()
    page.wait(lambda: page.all(".diff"))
    assert "host: node44" in page.text(".diff .added")
    page.open("/description/versions?show=1")
    page.find("form[action*='/restore'] button").click()
    page.wait(lambda: page.text("#notice").startswith("Restored"))
    assert site.plane.file.read_text() == old


def test_nothing_typed_is_lost_by_a_session_that_ended(site: Site, browser: Chromium) -> None:
    browser.log_in(TOKEN)
    browser.open("/description")
    text = browser.run("return document.getElementById('text').value")
    type_into(browser, text + "# mine\n")
    browser.wait(lambda: browser.text("#verdict").startswith("No problems"))
    browser.command("Network.clearBrowserCookies")
    browser.find("button[value=review]").click()
    browser.wait(lambda: "logged out" in browser.text("#verdict"))
    assert browser.run("return document.getElementById('text').value") == text + "# mine\n"
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    browser.log_in(TOKEN)
    browser.driver.close()
    browser.driver.switch_to.window(first)
    browser.find("button[value=review]").click()
    browser.wait(lambda: browser.all("#plan"))
    assert browser.run("return document.getElementById('text').value") == text + "# mine\n"


def test_events_come_by_themselves(site: Site, page: Chromium) -> None:
    page.open("/events")
    before = len(page.all("#events tr"))
    site.store.add_events([Event(time.time(), NODE1, "dhcp", "offer", "10.10.14.11 just now")])
    page.wait(lambda: "10.10.14.11 just now" in page.text("#events tr:first-child"))
    assert len(page.all("#events tr")) == before + 1


# -- how it looks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (1280, True), (360, False), (360, True)])
def test_every_page_fits(page: Chromium, width: int, dark: bool) -> None:
    page.look_like(width, 800, dark)
    for path in PAGES:
        page.open(path)
        wide = page.run("return [document.documentElement.scrollWidth, document.body.scrollWidth]")
        assert max(wide) <= width, path
        colour = page.run("return getComputedStyle(document.body).backgroundColor")
        red, green, blue = (int(part) for part in re.findall(r"\d+", colour)[:3])
        assert (red + green + blue < 150) is dark, path
        small = page.run(
            """return [...document.querySelectorAll('main a.button, main button, .nav a')]
                 .filter((each) => each.getClientRects().length && each.getBoundingClientRect().height < 24)
                 .map((each) => each.outerHTML)"""
        )
        assert small == [], path


LONG = "a-host-of-sixty-characters-is-what-the-dns-allows-to-a-label"


@pytest.mark.parametrize("width", [1280, 360])
def test_long_words_and_hostile_ones_fit(site: Site, page: Chromium, width: int) -> None:
    text = site.plane.file.read_text().replace("host: node4,", f"host: {LONG},")
    site.plane.file.write_text(text)
    site.plane.cluster = load(text, "cluster-desc.yaml")
    enter(site, NODE4, MachineState.FAILED, reason="A" * 400)
    now = time.time()
    site.store.add_events([Event(now, NODE4, "installer", "failed", "B" * 500, "error", "C" * 2000)])
    site.store.save_sightings([Sighting(STRANGER, now, now, 1, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)])
    page.look_like(width, 800)
    for path in ("/", f"/machines/{NODE4}", "/unknown", "/events", "/audit", "/status"):
        page.open(path)
        wide = page.run("return [document.documentElement.scrollWidth, document.body.scrollWidth]")
        assert max(wide) <= width, path
        broken = page.run(
            """return [...document.querySelectorAll('main button, main a.button')]
                 .filter((each) => each.getBoundingClientRect().height > 60).map((each) => each.outerHTML)"""
        )
        assert broken == [], path
        outside = page.run(
            """return [...document.querySelectorAll('main a')]
                 .filter((each) => each.getClientRects().length && each.getBoundingClientRect().right > arguments[0])
                 .map((each) => each.outerHTML)""",
            width,
        )
        assert outside == [], path


def test_nothing_moves_for_who_asked_for_it(site: Site, page: Chromium) -> None:
    still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.command("Emulation.setEmulatedMedia", features=still)
    page.open("/")
    enter(site, NODE5, MachineState.BOOTING)
    page.wait(lambda: page.text(f"{row(NODE5)} .badge") == "booting")
    moving = """return [...document.querySelectorAll('*')].flatMap((each) => ['', '::before', '::after'].map((part) =>
                  getComputedStyle(each, part).animationName)).filter((name) => name !== 'none')"""
    assert page.run(moving) == []


def test_without_scripts(site: Site, browser: Chromium) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.log_in(TOKEN)
    browser.open("/?state=failed")
    assert [each.text for each in browser.all("#rack .host") if each.is_displayed()] == ["node3"]
    browser.open("/machines/node1")
    browser.find("#order-hold summary").click()
    browser.find("#reason-hold").send_keys("no scripts")
    browser.find("#order-hold button").click()
    browser.wait(lambda: site.store.find_history(NODE1).held == "no scripts")
    browser.open("/events")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", browser.find("#events .clock").text)
    browser.open("/machines/node3")
    assert not browser.find("[data-copy=report]").is_displayed()
