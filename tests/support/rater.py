"""The rating page's server in a thread, and a rater before it in a browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from aiohttp import web
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.support.ui import WebDriverWait

from streams.rating.server import RatingPage, make_app
from tests.support.web import in_thread


@contextmanager
def served(page: RatingPage) -> Iterator[str]:
    """Runs the page's server in a thread; gives its address."""
    with in_thread(web.AppRunner(make_app(page))) as address:
        yield address


class Person:
    """A rater with a keyboard and eyes, without a mouse."""

    def __init__(self, browser: webdriver.Chrome) -> None:
        self.browser = browser

    def press(self, *keys: str) -> None:
        ActionChains(self.browser).send_keys(*keys).perform()

    def sees(self, condition: Callable[[], bool]) -> None:
        try:
            WebDriverWait(self.browser, 60, poll_frequency=0.02).until(lambda _: condition())
        except TimeoutException:
            texts = f"{self.text('status')} {self.text('notice-title')}"
            pytest.fail(f"not seen; stage {self.stage()}, {self.progress()} rated, {texts}, {self.browser.get_log('browser')}")

    def stage(self) -> str:
        return self.browser.execute_script("return document.body.dataset.stage") or ""

    def text(self, name: str) -> str:
        return self.browser.execute_script("return document.getElementById(arguments[0]).textContent", name)

    def shown(self) -> str:
        return self.browser.execute_script("return next && next.presentation") or ""

    def progress(self) -> int:
        return self.browser.execute_script("return next ? next.done : -1")
