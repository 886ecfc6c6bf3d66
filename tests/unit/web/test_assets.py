"""The page's files: what is served, under which addresses, and that the policy lets the page load them."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
from aiohttp.test_utils import TestClient

from streams.web.assets import MEDIA, PAGE

NAMED = re.compile(r'((?:src|href)=")([^"#]+)"')


async def test_every_view_is_the_same_page(client: TestClient) -> None:
    """Its addresses are relative to the view, so that they hold under a path of another site."""
    whole = (PAGE / "index.html").read_text()
    for address in (
        "/",
        "/streams/studio%2F7",
        "/streams/..%2F..%2Fsecret",
        "/alerts",
        "/alerts/0d25aadadd4b71f3",
        "/clips",
        "/streams/",
        "/alerts/",
        "/clips/",
        "/?tv=1",
    ):
        answer = await client.get(address)
        assert (answer.status, answer.content_type) == (200, "text/html"), address
        page = await answer.text()
        for root in ("", "/fvq"):
            there = f"http://wall.example{root}{address}"
            named = NAMED.sub(lambda found, there=there: f'{found[1]}{urljoin(there, found[2])}"', page)
            assert named.replace(f"http://wall.example{root}/", "/") == whole
        again = await client.get(address, headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304


async def test_every_file_that_the_page_names_is_served(client: TestClient) -> None:
    page = (PAGE / "index.html").read_text()
    named = re.findall(r'(?:src|href)="(/[^"#]+)"', page)
    assert named
    for address in named:
        answer = await client.get(address)
        assert answer.status == 200, address
        assert answer.content_type == MEDIA[Path(address).suffix or ".html"]


@pytest.mark.parametrize(
    "address", ["/page/index.html", "/vendor/uPlot.LICENSE", "/../assets.py", "/..%2fassets.py", "/%2e%2e/assets.py", "/vendor/"]
)
async def test_nothing_else_is_served(client: TestClient, address: str) -> None:
    assert (await client.get(address)).status == 404


def test_the_page_has_nothing_that_the_policy_forbids() -> None:
    """Scripts and styles in the HTML, and what needs a Trusted Type, would silently do nothing."""
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=", page)
    for script in PAGE.glob("*.js"):
        text = script.read_text()
        assert not re.search(r"\.innerHTML\s*=|insertAdjacentHTML|\beval\(|setAttribute\(\"style\"", text), script.name
