"""Checks of the URIs that events bring, before and while their media is fetched.

An event comes from outside, so its URI may be an attack. Each check here stops one attack and raises `MediaError` of kind
"refused". `streams.media.fetch` calls them; its time-out and its limit of size stop media without end.
"""

from __future__ import annotations

import asyncio
import fnmatch
import ipaddress
import os
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from streams.errors import MediaError

NAT64 = ipaddress.ip_network("64:ff9b::/96")


def path_under_roots(uri: str, roots: Sequence[str]) -> str:
    """The path of a file URI. Stops reading any file of this machine, also by `..`, `%2e%2e` or a symbolic link.

    roots: real paths of the folders that may be read, each with a separator at its end, so that /media does not allow
    /media-of-others.
    """
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise _refused(f"{without_secrets(uri)}: a file URI cannot name a host")
    if not roots:
        raise _refused(f"{without_secrets(uri)}: file URIs are refused; set FVQ_MEDIA_ROOTS to the folders that may be read")
    # os.path instead of pathlib: this runs for every segment, and pathlib takes three times as long.
    try:
        path = os.path.realpath(unquote(parts.path))
    except (OSError, ValueError) as error:
        raise _refused(f"{without_secrets(uri)}: not a path: {error}") from error
    if not any(path.startswith(root) for root in roots):
        raise _refused(f"{without_secrets(uri)} is outside FVQ_MEDIA_ROOTS")
    return path


def check_http(uri: str) -> str:
    """The host of an http(s) URI. Stops a redirect to another scheme, such as `file:`."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise _refused(f"{without_secrets(uri)}: not an http address")
    return parts.hostname


def check_listed(uri: str, host: str, patterns: Sequence[str]) -> None:
    """Stops requests to hosts that the operator did not list. patterns: of host names; none allows every host."""
    if patterns and not any(fnmatch.fnmatch(host.lower(), pattern.lower()) for pattern in patterns):
        raise _refused(f"{without_secrets(uri)}: the host is not in FVQ_FETCH_HOSTS")


def check_literal_address(uri: str, host: str) -> None:
    """Stops requests into the private network by an address such as 169.254.169.254, for which aiohttp asks no resolver."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return  # a name: `CheckedResolver` checks its addresses
    if not is_public(address):
        raise _refused(f"{without_secrets(uri)}: {host} is not a public address")


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
                raise RefusedAddressError(f"{host} resolves to {address}, which is not a public address")
            results.append(
                ResolveResult(
                    hostname=host, host=address, port=port, family=address_family, proto=protocol, flags=socket.AI_NUMERICHOST
                )
            )
        return results

    async def close(self) -> None:
        """Nothing to free."""


class RefusedAddressError(OSError):
    """A name resolves to an address that is not allowed. An OSError, because aiohttp wraps those of its resolver."""


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether an address belongs to the public internet. Stops private IPv4 addresses that are written as IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


def redirect_target(uri: str, location: str) -> str:
    """Where a redirect leads. Stops a `Location` that is no URI, which would end in an unexpected ValueError."""
    try:
        return urljoin(uri, location)
    except ValueError as error:
        raise _refused(f"{without_secrets(uri)}: redirects to what is no address") from error


def without_secrets(uri: str) -> str:
    """A URI for logs and messages: without user, password and query, which may hold a signature; 300 characters at most."""
    try:
        parts: Any = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return "the URI"
    try:
        port = "" if parts.port is None else f":{parts.port}"
    except ValueError:
        port = ""
    return f"{parts.scheme}://{host}{port}{parts.path}"[:300]


def _refused(reason: str) -> MediaError:
    return MediaError(reason, kind="refused")
