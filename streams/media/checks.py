"""Checks of the URIs that events bring, before and while their media is fetched.

An event comes from outside, so its URI may be an attack. Each check here stops one attack and raises `MediaError` of kind
"refused". `streams.media.fetch` calls them; its time-out and its limit of size stop media without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import ipaddress
import os
import socket
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

import idna
from aiohttp.abc import AbstractResolver, ResolveResult

from streams.media.uri import Uri, refusal

PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""The only IPv6 addresses that are given to the internet (RFC 4291). Outside are loopback, link-local, site-local, unique
local, multicast and the local prefixes of NAT64 and SIIT."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 addresses as a network without IPv4 sees them (RFC 6052): as public as the address within."""

NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "192.0.0.0/24",  # protocols of the IETF; Python's own list has a part of it only
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # protocols of the IETF: Teredo, which tunnels to an IPv4 address, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which tunnels to an IPv4 address
        "3fff::/20",  # documentation
    )
)
"""Networks that are not public, whatever this version of Python says of them."""

ISATAP = (0x0000_5EFE, 0x0200_5EFE)
"""Bits 64 to 95 of an IPv6 address that tunnels to the IPv4 address in its last 32 bits (RFC 5214), in any network."""

HOW_TO_ALLOW = "FVQ_FETCH_PRIVATE=true allows sources of your own network"

AddressInfo = tuple[int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]]
"""What aiohttp connects a socket to, as `socket.getaddrinfo` gives it."""


def path_under_roots(uri: Uri, roots: Sequence[str]) -> str:
    """The path of a file URI. Stops reading any file of this machine, also by `..`, `%2e%2e` or a symbolic link.

    roots: real paths of the folders that may be read, each with a separator at its end, so that /media does not allow
    /media-of-others.
    """
    if uri.host not in ("", "localhost"):
        raise refusal(f"{uri.shown}: a file URI cannot name a host")
    if not roots:
        raise refusal(f"{uri.shown}: file URIs are refused; set FVQ_MEDIA_ROOTS to the folders that may be read")
    # os.path instead of pathlib: this runs for every segment, and pathlib takes three times as long.
    try:
        # As bytes: the name of a file need not be UTF-8.
        path = os.path.realpath(os.fsdecode(unquote_to_bytes(uri.path)))
    except (OSError, ValueError) as error:
        raise refusal(f"{uri.shown}: not a path: {error}") from error
    if not any(path.startswith(root) for root in roots):
        raise refusal(f"{uri.shown} is outside FVQ_MEDIA_ROOTS")
    return path


def check_http(uri: Uri) -> None:
    """Stops a redirect to another scheme, such as `file:`."""
    if not uri.is_http:
        raise refusal(f"{uri.shown}: not an http address")


def check_listed(uri: Uri, patterns: Sequence[str]) -> None:
    """Stops requests to hosts that the operator did not list. patterns: of host names; none allows every host."""
    if not patterns:
        return
    host = uri.host.removesuffix(".")
    names = {host}
    if "xn--" in host:
        with contextlib.suppress(UnicodeError):  # a wrong encoding stands for no name
            names.add(idna.decode(host))  # an operator may list the name instead of its encoding
    if not any(fnmatch.fnmatchcase(name, pattern.lower()) for name in names for pattern in patterns):
        raise refusal(f"{uri.shown}: the host is not in FVQ_FETCH_HOSTS")


def check_literal_address(uri: Uri) -> None:
    """Stops requests into the private network by an address such as 169.254.169.254, for which aiohttp asks no resolver."""
    try:
        address = ipaddress.ip_address(uri.host)
    except ValueError:
        return  # a name: `CheckedResolver` checks its addresses
    if not is_public(address):
        raise refusal(f"{uri.shown}: {uri.host} is not a public address; {HOW_TO_ALLOW}")


class CheckedResolver(AbstractResolver):
    """Stops requests into the private network by a name that resolves to a private address.

    It also stops DNS rebinding, where a second look-up gives another address than the checked one: aiohttp connects to
    the addresses that this resolver returns, so each is checked and none is looked up again. private: whether private
    addresses are allowed.
    """

    def __init__(self, private: bool) -> None:
        self._private = private

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of a host. Raises `RefusedAddressError` where one of them is not allowed."""
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results: list[ResolveResult] = []
        for address_family, _, protocol, _, socket_address in infos:
            address = str(socket_address[0])
            if not self._private and not is_public(ipaddress.ip_address(address.split("%")[0])):
                raise RefusedAddressError(f"{host} resolves to {address}, which is not a public address; {HOW_TO_ALLOW}")
            results.append(
                ResolveResult(
                    hostname=host, host=address, port=port, family=address_family, proto=protocol, flags=socket.AI_NUMERICHOST
                )
            )
        return results

    async def close(self) -> None:
        """Nothing to free."""


def public_socket(info: AddressInfo) -> socket.socket:
    """A socket for one public address. Stops a connection to any other, whichever way its address came about.

    aiohttp asks for a socket just before it connects, and connects it to the address of `info`: no path leads around.
    """
    family, kind, protocol, _, socket_address = info
    try:
        allowed = is_public(ipaddress.ip_address(str(socket_address[0])))
    except ValueError:  # a name, which connect() would look up
        allowed = False
    if not allowed:
        raise RefusedAddressError(f"{socket_address[0]} is not a public address; {HOW_TO_ALLOW}")
    return socket.socket(family, kind, protocol)


class RefusedAddressError(OSError):
    """An address is not allowed. An OSError, because aiohttp wraps those of its resolver and of its sockets."""


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to the public internet.

    Stops private IPv4 addresses that are written as IPv6: an address that only carries an IPv4 address is judged by that
    one. A tunnel to an IPv4 address (6to4, Teredo, ISATAP) is never public: this machine's routes decide where it ends.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in NAT64:
            return is_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in PUBLIC_IPV6 or int(address) >> 32 & 0xFFFFFFFF in ISATAP:
            return False
    if any(address in network for network in NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast
