"""Checks of URIs one by one; test_fetch.py shows that each fetch makes them."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from streams.errors import MediaError
from streams.media.checks import CheckedResolver, RefusedAddressError, check_http, is_public, redirect_target, without_secrets


@pytest.mark.parametrize(
    ("address", "public"), [("8.8.8.8", True), ("2606:4700::1111", True), ("::ffff:10.1.1.1", False), ("2002:7f00:1::", False)]
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(ipaddress.ip_address(address)) is public


async def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    with pytest.raises(RefusedAddressError, match="localhost resolves to"):
        await CheckedResolver(private=False).resolve("localhost", 80, socket.AF_INET)
    (result,) = await CheckedResolver(private=True).resolve("localhost", 80, socket.AF_INET)
    assert (result["host"], result["flags"]) == ("127.0.0.1", socket.AI_NUMERICHOST)


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://example.com/a", "http:///a", "/etc/passwd"])
def test_only_http_uris_with_a_host_are_requested(uri: str) -> None:
    with pytest.raises(MediaError, match="not an http address") as refusal:
        check_http(uri)
    assert refusal.value.kind == "refused"


def test_a_redirect_may_be_relative_but_must_be_a_uri() -> None:
    assert redirect_target("http://a.example/live/1.ts", "2.ts") == "http://a.example/live/2.ts"
    with pytest.raises(MediaError, match="no address"):
        redirect_target("http://a.example/", "http://[x")


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:hunter2@a.example:8443/1.ts?X-Amz-Signature=abc#f", "https://a.example:8443/1.ts"),
        ("http://a.example:port/1.ts", "http://a.example/1.ts"),
        ("http://[x", "the URI"),
    ],
)
def test_a_uri_is_shown_without_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
