"""A real Chromium without a window, for tests and benchmarks of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

AXE = Path(__file__).parent / "axe" / "axe.min.js"


class BrowserMissing(Exception):
    """Chromium or its driver is not installed; the message says how to get them."""


@contextmanager
def chromium(profile: Path, *arguments: str) -> Iterator[webdriver.Chrome]:
    """A browser with a fresh profile in this folder. Raises `BrowserMissing`."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not (program and driver):
        raise BrowserMissing(
            "Chromium and its driver are needed. Run: scripts/browser, or apt-get install -y chromium chromium-driver"
        )
    os.environ["SE_OFFLINE"] = "true"  # Selenium would look for a newer driver on the net
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # The sandbox needs rights that root in a container does not have. Without it is safe: the page is our own.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}", *arguments):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, Service(driver))
    try:
        yield chrome
    finally:
        chrome.quit()


@contextmanager
def chromium_or_skip(profile: Path, *arguments: str) -> Iterator[webdriver.Chrome]:
    """The same for a test: where the browser is missing it skips, or fails with CI=true."""
    try:
        with chromium(profile, *arguments) as chrome:
            yield chrome
    except BrowserMissing as missing:
        pytest.fail(str(missing)) if os.environ.get("CI") == "true" else pytest.skip(str(missing))


def set_size(browser: webdriver.Chrome, width: int, height: int, mobile: bool = False) -> None:
    """The size of the page itself, CSS pixels."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def set_theme(browser: webdriver.Chrome, theme: str, *features: tuple[str, str]) -> None:
    """What the system prefers: "dark" or "light", and other media features."""
    wanted = [("prefers-color-scheme", theme), *features]
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": name, "value": value} for name, value in wanted]}
    )


def accessibility_problems(browser: webdriver.Chrome) -> list[str]:
    """What axe-core finds on the page as it is now: rule, element and reason of each problem."""
    browser.execute_script(AXE.read_text("utf-8"))
    found = browser.execute_async_script("axe.run(document).then(arguments[0], (error) => arguments[0]({failed: String(error)}))")
    if "failed" in found:
        raise AssertionError(found["failed"])
    return [f"{rule['id']}: {node['target']}: {node['failureSummary']}" for rule in found["violations"] for node in rule["nodes"]]
