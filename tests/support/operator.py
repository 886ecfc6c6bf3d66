"""Somebody before the wall in a real Chromium, for tests of its page."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

from tests.support.wall_page import Server

ROWS = """
return [...document.querySelectorAll("#rows .row")].filter((row) => !row.hidden)
  .sort((one, other) => one.getAttribute("aria-rowindex") - other.getAttribute("aria-rowindex"))
  .map((row) => ({
    place: Number(row.getAttribute("aria-rowindex")), id: row.querySelector(".id").title,
    score: row.querySelector(".chip b").textContent,
    alert: row.dataset.alert || "", state: row.dataset.state, active: row.classList.contains("active"),
    selected: row.getAttribute("aria-selected") === "true",
  }));
"""
"""The rows that are in the document, from the top."""

AT_ONCE = """
for (const key of arguments[0]) document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
"""


class Operator:
    """Somebody before the wall, with a keyboard and eyes."""

    def __init__(self, browser: webdriver.Chrome, server: Server) -> None:
        self.browser, self.server = browser, server

    def opens(self, path: str = "/") -> None:
        self.browser.get(self.server.address + path)

    def opens_in_place(self, path: str) -> None:
        """As the browser's buttons do: the page stays loaded."""
        self.browser.execute_script(
            "history.pushState(null, '', arguments[0]); dispatchEvent(new PopStateEvent('popstate'))", path
        )

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def press_at_once(self, *keys: str) -> None:
        """Keys that belong together, as "g f", without the time between two of them that a busy machine may take."""
        self.browser.execute_script(AT_ONCE, keys)

    def sees(self, condition: Callable[[], Any], within: float = 60) -> None:
        try:
            WebDriverWait(self.browser, within, poll_frequency=0.05).until(lambda _: condition())
        except TimeoutException:
            pytest.fail(f"not seen at {self.path()}: {self.text()[:1500]}\n{self.browser.get_log('browser')}")

    def rows(self) -> list[dict[str, Any]]:
        return self.browser.execute_script(ROWS)

    def path(self) -> str:
        return self.browser.execute_script("return location.pathname + location.search")

    def text(self) -> str:
        return self.browser.execute_script("return document.body.innerText")

    def view(self) -> str:
        return self.browser.execute_script("return document.body.dataset.view") or ""

    def dialog(self) -> str:
        return self.browser.execute_script("return document.querySelector('dialog[open]')?.innerText ?? ''")

    def was_told(self, text: str) -> bool:
        """Whether the page has told this in passing, at the foot, since it was opened."""
        return any(text in toast for toast in self.browser.execute_script("return window.toasts"))

    def sees_rows(self) -> None:
        self.sees(lambda: len(self.rows()) > 5)

    def active(self) -> str:
        return next((row["id"] for row in self.rows() if row["active"]), "")

    def has_no_complaint(self) -> None:
        """Nothing violated the content security policy, and no script failed."""
        complaints = [
            entry for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE" and "404" not in entry["message"]
        ]
        assert complaints == []

    def asks(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.server.address}/api/v1{path}", data, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"null")

    def real_path(self, path: str) -> str:
        """The path; for ALERT that of a firing alert that nobody has acknowledged."""
        if path != "ALERT":
            return path
        firing = self.asks("GET", "/alerts?state=unacknowledged&kind=quality-drop&limit=1")["items"]
        return "/alerts/" + firing[0]["alert"]["alert_id"]
