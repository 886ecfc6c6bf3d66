"""A seeded fleet, a browser, and somebody before it, for all tests of the page."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.support.browser import chromium_or_skip, set_size, set_theme
from tests.support.operator import Operator
from tests.support.wall_page import Server, serving

TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) => console.error("violated", event.violatedDirective, event.blockedURI));
"""

KEEP_TOASTS = """
window.toasts = [];
let toasted = "";
new MutationObserver(() => {
  const toast = document.getElementById("toast");
  const text = toast?.textContent && toast.checkVisibility() ? toast.textContent : "";
  if (text && text !== toasted) window.toasts.push(text);
  toasted = text;
}).observe(document, { subtree: true, childList: true, characterData: true });
"""
"""Keeps what the page has told in passing: it takes such a text away after some seconds, and a slow test would miss it."""


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="package")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with chromium_or_skip(tmp_path_factory.mktemp("browser")) as chrome:
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": TELL_VIOLATIONS})
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": KEEP_TOASTS})
        yield chrome


@pytest.fixture
def browser(chrome: webdriver.Chrome) -> webdriver.Chrome:
    """The browser as a fresh one: an empty page, a desk's size, a dark system in its own time zone, no messages."""
    chrome.get("about:blank")
    chrome.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    set_size(chrome, 1280, 800)
    set_theme(chrome, "dark")
    chrome.get_log("browser")
    return chrome


@pytest.fixture
def operator(browser: webdriver.Chrome, server: Server) -> Operator:
    return Operator(browser, server)
