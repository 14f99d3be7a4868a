"""The page in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest

from wavebreak.service import new_token
from wavebreak.service.access import write_rules

from .processes import Served, served, wavebreak

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

CHROMIUM: Final = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium"
    ),
]
ARGUMENTS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
WITHIN: Final = 30_000
"""Milliseconds that anything on the page may take; only a net, the machines are slow."""


@pytest.fixture(scope="module")
def service() -> Generator[Served]:
    with served() as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Generator[Browser]:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only where it can be used

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, service: Served) -> Generator[Page]:
    """Open the page, logged in; it may ask nobody else, and no script may fail."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(WITHIN)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: _own(asked.url, service.url, wrong))
    page.goto(service.url)
    come_in(page, service.token)
    yield page
    context.close()
    assert wrong == []


def _own(url: str, service: str, wrong: list[str]) -> None:
    if not url.startswith((service, "data:")):
        wrong.append(f"asked {url}")


def talk(page: Page, session: str, *texts: str) -> None:
    if page.inner_text("#title") != session:
        page.fill("#name", session)
        page.press("#name", "Enter")
    for text in texts:
        page.fill("#text", text)
        page.press("#text", "Enter")


def words(page: Page, kind: str) -> list[str]:
    found: list[Any] = page.eval_on_selector_all(
        f".word.{kind}", "all => all.map(one => one.firstChild.textContent)"
    )
    return [str(each) for each in found]


def test_who_writes_again_sees_the_wave_end_and_what_is_carried_over(page: Page) -> None:
    talk(page, "ann", "rome 1")
    page.wait_for_selector(".bar.open")
    assert page.inner_text(".turn.running h3") == "Turn 1: running"
    talk(page, "ann", "breakfast 0")
    page.wait_for_selector("text=told to stop after its wave")
    page.wait_for_selector(".turn.interrupted")
    page.wait_for_selector(".word.reply")
    assert words(page, "reply") == ["found rome 1; found breakfast 0"]
    assert words(page, "message") == ["rome 1", "breakfast 0"]
    assert page.inner_text(".turn.interrupted h3") == "Turn 1: interrupted (superseded)"
    carried = page.locator(".turn.finished .bar.carried")
    assert carried.count() == 1
    assert "carried over" in str(carried.get_attribute("aria-label"))
    assert page.get_attribute("#sessions button[aria-current='true']", "aria-current") == "true"


def test_a_reload_in_the_middle_loses_nothing(page: Page) -> None:
    talk(page, "bob", "paris 1.5")
    page.wait_for_selector(".bar.open")
    page.reload()
    page.wait_for_selector(".word.message")
    assert words(page, "message") == ["paris 1.5"]
    page.wait_for_selector(".word.reply")
    assert words(page, "reply") == ["found paris 1.5"]
    assert page.locator(".turn").count() == 1


def test_a_turn_is_stopped_by_the_button_and_by_the_keyboard(page: Page) -> None:
    talk(page, "cid", "oslo 30")
    page.click("#stop-now:enabled")
    page.wait_for_selector(".turn.stopped")
    talk(page, "cid", "bern 0.5")
    page.wait_for_selector("#stop:enabled")
    page.press("#text", "Escape")
    page.wait_for_selector(".turn.stopped >> nth=1")
    page.wait_for_selector("#stop:disabled")
    assert words(page, "reply") == []


def test_everything_is_reached_by_the_keyboard(page: Page) -> None:
    talk(page, "dan", "hello 0")
    page.wait_for_selector(".word.reply")
    page.focus("#theme")
    reached: list[str] = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(str(page.evaluate("document.activeElement.id")))
    for control in ("logout", "name", "text", "policy", "send"):
        assert control in reached


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_it_fits_a_narrow_screen_and_can_be_read_in_dark_and_light(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 360, "height": 700})
    talk(page, f"eve-{scheme}", f"{'a very long word' * 20} 0", "x" * 400 + " 0")
    page.wait_for_selector(".word.reply")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate(CONTRAST) >= 4.5
    assert page.is_hidden(".turn")
    page.click("text=Turns and waves")
    page.wait_for_selector(".turn.finished")
    assert page.is_hidden(".word.reply")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


CONTRAST: Final = """() => {
  const style = getComputedStyle(document.body);
  const light = (text) => {
    const [r, g, b] = text.match(/[0-9.]+/g).slice(0, 3).map((part) => {
      const value = part / 255;
      return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const [a, b] = [light(style.color), light(style.backgroundColor)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


def test_the_supervision_tree_is_there_for_whom_it_is_open(page: Page) -> None:
    talk(page, "gus", "hello 0")
    page.wait_for_selector(".word.reply")
    page.click("#tree summary")
    page.wait_for_selector("#tree-content li li")
    assert "sessions" in page.inner_text("#tree-content")


def test_a_token_of_several_tenants_sees_theirs_one_after_the_other(
    browser: Browser, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens.json"
    two, rule_of_two = new_token("two", tenants=["acme", "zoo"])
    every, rule_of_all = new_token("all", tenants=["*"])
    write_rules(tokens, [rule_of_two, rule_of_all])
    with served(tokens=str(tokens)) as service, browser.new_context() as context:
        context.set_default_timeout(WITHIN)
        page = context.new_page()
        page.goto(service.url)
        come_in(page, two)
        assert page.locator("#tenant option").all_inner_texts() == ["acme", "zoo"]
        talk(page, "ann", "rome 0")
        page.wait_for_selector(".word.reply")
        page.select_option("#tenant", "zoo")
        page.wait_for_selector("#empty:visible")
        page.wait_for_selector("#sessions li", state="detached")
        talk(page, "ann", "oslo 0")
        page.wait_for_selector("text=found oslo 0")
        assert words(page, "reply") == ["found oslo 0"]
        page.reload()
        page.wait_for_selector("text=found oslo 0")
        assert page.input_value("#tenant") == "zoo"
        page.click("#logout")
        come_in(page, every)
        page.click("#sessions button:has-text('acme / ann')")
        page.wait_for_selector("text=found rome 0")
        assert page.locator("#sessions li").count() == 2
        assert page.is_hidden("#tenant")


def come_in(page: Page, token: str) -> None:
    page.fill("#token", token)
    page.press("#token", "Enter")
    page.wait_for_selector("#app:not([hidden])")


def test_a_session_is_forgotten_by_its_button_when_that_is_confirmed(page: Page) -> None:
    talk(page, "hal", "rome 0")
    page.wait_for_selector(".word.reply")
    page.click("#forget")  # a dialog that nobody answers is dismissed
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#forget")
    page.wait_for_selector("text=this session was forgotten")
    assert words(page, "reply") == []
    page.wait_for_selector("#sessions button:has-text('hal')", state="detached")
    talk(page, "hal", "oslo 0")
    page.wait_for_selector("text=found oslo 0")


def test_what_is_written_is_never_taken_for_html(page: Page) -> None:
    talk(page, "mallory", "<img src=x onerror=alert(1)> 0")
    page.wait_for_selector(".word.reply")
    assert page.locator("#session img").count() == 0
    assert words(page, "message") == ["<img src=x onerror=alert(1)> 0"]


def test_a_saved_session_shows_the_same_without_any_service(
    page: Page, service: Served, browser: Browser, tmp_path: Path
) -> None:
    talk(page, "fay", "</script><b>rome</b> 0")
    page.wait_for_selector(".word.reply")
    saved = tmp_path / "fay.html"
    wavebreak("show", "fay", "--html", str(saved), environment=service.environment)
    with browser.new_context(offline=True) as context:
        other = context.new_page()
        other.goto(saved.as_uri())
        other.wait_for_selector(".word.reply")
        for kind in ("message", "reply"):
            assert words(other, kind) == words(page, kind)
        assert other.locator(".turn").count() == page.locator(".turn").count()


def test_who_has_no_token_sees_nothing(browser: Browser, service: Served) -> None:
    with browser.new_context() as context:
        context.set_default_timeout(WITHIN)
        page = context.new_page()
        page.goto(service.url)
        page.fill("#token", "wb_wrong")
        page.press("#token", "Enter")
        page.wait_for_selector("#login-error:not(:empty)")
        assert page.is_hidden("#app")
