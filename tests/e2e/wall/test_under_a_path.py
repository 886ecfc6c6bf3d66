"""The wall under a path of another site, behind a proxy that takes the path away: every address of the page has it."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy

import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys

from tests.support.operator import Operator
from tests.support.path_proxy import under_path
from tests.support.wall_page import Server

NOT_FOUND = """
return performance.getEntriesByType("resource").filter((entry) => entry.responseStatus >= 400 || !entry.name.includes("/fvq/"))
  .map((entry) => `${entry.responseStatus} ${entry.name}`);
"""
"""What the page has loaded from elsewhere, or has not got."""


@pytest.fixture(scope="module")
def proxied(server: Server) -> Iterator[Server]:
    with under_path(server.address, "/fvq") as address:
        behind = copy(server)
        behind.address = address
        yield behind


@pytest.fixture
def visitor(browser: webdriver.Chrome, proxied: Server) -> Operator:
    return Operator(browser, proxied)


def loads_all(visitor: Operator) -> None:
    visitor.has_no_complaint()
    assert visitor.browser.execute_script(NOT_FOUND) == []


def test_the_fleet_is_live_and_the_keys_stay_under_the_path(visitor: Operator) -> None:
    visitor.opens("/?tv=1")
    visitor.sees_rows()
    visitor.press("j")
    visitor.press(Keys.ENTER)
    visitor.sees(lambda: visitor.view() == "stream" and "Segments" in visitor.text())
    assert visitor.path().startswith("/fvq/streams/")
    visitor.press("m")
    for keys, view in (("gf", "fleet"), ("ga", "alerts"), ("gc", "clips")):
        visitor.press_at_once(*keys)
        visitor.sees(lambda view=view: visitor.view() == view)
        assert visitor.path() == {"fleet": "/fvq/?tv=1"}.get(view, f"/fvq/{view}?tv=1")
    visitor.sees(lambda: "kept as" in visitor.text())
    visitor.press(Keys.ESCAPE)
    visitor.sees(lambda: visitor.view() == "alerts")
    loads_all(visitor)


@pytest.mark.parametrize("path", ["/streams/a%2F..%2Fb%252Fc", "ALERT", "/alerts", "/alerts/", "/clips?label=tier:premium"])
def test_every_view_opens_by_its_link(visitor: Operator, path: str) -> None:
    visitor.opens(visitor.real_path(path))
    visitor.sees(lambda: visitor.view() in path.lower() + "s" and len(visitor.text()) > 500)
    for link in visitor.browser.execute_script("return [...document.querySelectorAll('a[href]')].map((link) => link.href)"):
        assert link.startswith(visitor.server.address), link
    loads_all(visitor)


def test_a_filter_from_a_stream_leads_to_the_fleet_under_the_path(visitor: Operator) -> None:
    visitor.opens(f"/streams/{visitor.asks('GET', '/streams?limit=1')['items'][0]['stream_id']}")
    visitor.sees(lambda: visitor.view() == "stream")
    visitor.press("/", "tier:premium", Keys.ENTER)
    visitor.sees(lambda: visitor.view() == "fleet" and visitor.path() == "/fvq/?label=tier%3Apremium")
    visitor.sees_rows()
    loads_all(visitor)
