"""Details that hurt only now and then: a hasty Enter, a screen reader, a store that is away, a zone with half hours."""

from __future__ import annotations

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.operator import Operator

STORE_AWAY = """
const real = window.fetch;
window.storeIsAway = true;
window.fetch = (address, options) => (window.storeIsAway && /[/](segments|scores)[?]/.test(address)
  ? Promise.resolve(new Response('{"detail": "the store does not answer"}', { status: 503 })) : real(address, options));
"""

NO_CLIPS = """
const real = window.fetch;
window.fetch = (address, options) => (
  address.includes("/clips?") ? Promise.resolve(Response.json({ items: [] })) : real(address, options));
"""

READ_ALOUD = """
const [seconds, done] = arguments;
const live = "[role=status], [role=alert], [aria-live]:not([aria-live=off])";
const isRead = ({ target }) => {
  const element = target.nodeType === Node.TEXT_NODE ? target.parentElement : target;
  return element?.closest(live) && !element.closest("[aria-hidden=true]");
};
const texts = [];
const watch = new MutationObserver((changes) => texts.push(...changes.filter(isRead).map(({ target }) => target.textContent)));
watch.observe(document.body, { subtree: true, childList: true, characterData: true });
setTimeout(() => done(texts), seconds * 1000);
"""
"""What a screen reader reads aloud by itself within this time."""


def test_a_hasty_enter_rates_nothing(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.sees(lambda: operator.browser.find_elements(By.CSS_SELECTOR, ".row img:not([hidden])"))
    operator.browser.execute_script(NO_CLIPS)
    operator.sees(lambda: is_at_a_picture(operator))
    operator.press("r")
    operator.sees(lambda: "A preview of about this time" in operator.dialog())
    operator.press(Keys.ENTER)
    assert "How good" in operator.dialog()
    assert operator.browser.execute_script("return document.activeElement.tagName") == "DIALOG"
    operator.press(Keys.ESCAPE)


def is_at_a_picture(operator: Operator) -> bool:
    """Whether the active row has a picture; where not, goes on to the next one."""
    if operator.browser.find_elements(By.CSS_SELECTOR, ".row.active img:not([hidden])"):
        return True
    operator.press("j")
    return False


def test_what_changes_each_second_is_not_read_aloud(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.browser.set_script_timeout(30)
    assert operator.browser.execute_async_script(READ_ALOUD, 3) == []


def test_older_segments_are_read_once_the_store_answers_again(operator: Operator) -> None:
    operator.opens()
    operator.sees_rows()
    operator.browser.execute_script(STORE_AWAY)
    operator.press("j", Keys.ENTER)
    operator.sees(lambda: "Older ones could not be read: the store does not answer" in operator.text())
    operator.browser.execute_script("window.storeIsAway = false;")
    operator.browser.find_element(By.CSS_SELECTOR, "[data-range='6h']").click()
    operator.sees(lambda: "could not be read" not in operator.text())


def test_a_zone_with_half_hours_is_named_by_its_minutes(operator: Operator) -> None:
    operator.opens()
    operator.browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kolkata"})
    script = "import('/time.js').then(({ bothClocks }) => arguments[0](bothClocks('2026-09-21T14:01:12Z')))"
    assert operator.browser.execute_async_script(script) == "2026-09-21 14:01:12Z, here 19:31:12 (UTC+5:30)"
