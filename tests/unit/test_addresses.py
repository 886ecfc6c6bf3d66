"""Hosts and ports in addresses: IPv6 has colons of its own, and 0.0.0.0 is an address that nobody can open."""

from __future__ import annotations

from socket import gethostname
from urllib.parse import urlsplit

import pytest

from streams.addresses import bracketed, cannot_listen, http_address, origin_of, reached_at


@pytest.mark.parametrize(
    ("host", "written"),
    [("127.0.0.1", "127.0.0.1"), ("wall.lan", "wall.lan"), ("::1", "[::1]"), ("fe80::1%eth0", "[fe80::1%eth0]"), ("::", "[::]")],
)
def test_an_ipv6_address_is_in_brackets(host: str, written: str) -> None:
    assert bracketed(host) == written
    assert http_address(host, 8060) == f"http://{written}:8060"
    parts = urlsplit(http_address(host, 8060))
    assert (parts.hostname, parts.port) == (host, 8060)


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("wall.lan", "wall.lan"), ("::1", "::1"), ("0.0.0.0", gethostname()), ("::", gethostname())],
)
def test_an_address_of_all_of_the_machine_becomes_its_name_for_others(host: str, shown: str) -> None:
    assert reached_at(host) == shown


def test_what_cannot_be_listened_on_is_named_with_its_reason() -> None:
    assert cannot_listen("::1", 80, PermissionError(13, "Permission denied")) == "cannot listen on [::1]:80: Permission denied"
    assert cannot_listen("wall.lan", 80, OSError("no such name")) == "cannot listen on wall.lan:80: no such name"


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://wall.example", "https://wall.example"),
        ("HTTPS://Wall.Example:443/FVQ/", "https://wall.example"),
        ("http://wall.example:80?q", "http://wall.example"),
        ("http://wall.example:443", "http://wall.example:443"),
        ("https://[::1]:443", "https://[::1]"),
        ("https://[::443]:8443/", "https://[::443]:8443"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin
