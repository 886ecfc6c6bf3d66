"""Checks of URIs one by one; test_fetch.py shows that each fetch makes them."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from streams.errors import MediaError
from streams.media.checks import CheckedResolver, RefusedAddressError, check_http, check_listed, is_public, public_socket
from streams.media.uri import parse


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "2a00:1450:4001::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"],
)
def test_public_addresses(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
        "192.0.0.8", "192.0.0.100", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.1.1.1",
        "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.1.1.1", "::ffff:0:7f00:1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "100::1", "2001::1", "2001:0:808:808::1", "2001:10::1",
        "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:808:808::1", "3fff::1", "2606:4700::5efe:7f00:1",
        "2606:4700::200:5efe:7f00:1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::5efe:a00:1", "fec0::1",
        "feff::1", "ff02::1", "ff0e::1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(RefusedAddressError, match="not a public address"):
        public_socket((family, socket.SOCK_STREAM, 0, "", (address, 80)))


@pytest.mark.parametrize("address", ["localhost", "fe80::1%lo", "127.1", "2130706433", "", "/run/a.socket"])
def test_a_socket_is_made_for_an_address_only(address: str) -> None:
    with pytest.raises(RefusedAddressError):
        public_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, 80)))


def test_a_socket_for_a_public_address() -> None:
    with public_socket((socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("8.8.8.8", 80))) as opened:
        assert opened.family == socket.AF_INET


def test_hosts_are_listed_by_name_or_by_its_encoding() -> None:
    for written in ("http://a.münchen.example/", "http://a.MÜNCHEN.example./", "http://a.xn--mnchen-3ya.example/"):
        for pattern in ("*.münchen.example", "*.Xn--mnchen-3ya.example"):
            check_listed(parse(written), [pattern])
        with pytest.raises(MediaError, match="FVQ_FETCH_HOSTS"):
            check_listed(parse(written), ["*.munchen.example"])


async def test_a_name_that_resolves_to_a_private_address_is_refused() -> None:
    with pytest.raises(RefusedAddressError, match="localhost resolves to"):
        await CheckedResolver(private=False).resolve("localhost", 80, socket.AF_INET)
    (result,) = await CheckedResolver(private=True).resolve("localhost", 80, socket.AF_INET)
    assert (result["host"], result["flags"]) == ("127.0.0.1", socket.AI_NUMERICHOST)


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "ftp://example.com/a", "/etc/passwd", ""])
def test_only_http_uris_with_a_host_are_requested(uri: str) -> None:
    with pytest.raises(MediaError, match="not an http address") as refusal:
        check_http(parse(uri))
    assert refusal.value.kind == "refused"
