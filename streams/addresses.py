"""Hosts and ports in the addresses that people and programs are given."""

from __future__ import annotations

import re
import socket
from ipaddress import ip_address

OWN_PORTS = {"http": ":80", "https": ":443"}
"""What browsers leave out of an address, by its scheme."""


def bracketed(host: str) -> str:
    """A host as it stands in an address: an IPv6 address is in brackets, because a port follows behind a colon."""
    return f"[{host}]" if ":" in host else host


def http_address(host: str, port: int) -> str:
    """The address of a page: `http://127.0.0.1:8060`, `http://[::1]:8060`."""
    return f"http://{bracketed(host)}:{port}"


def is_loopback(host: str) -> bool:
    """Whether a host, by its name or number, can only be this machine itself: nobody else connects to what listens there."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reached_at(host: str) -> str:
    """The host for a link that others open: the machine's name where a page listens at all of its addresses."""
    try:
        everywhere = ip_address(host).is_unspecified
    except ValueError:
        return host
    return socket.gethostname() if everywhere else host


def cannot_listen(host: str, port: int, error: OSError) -> str:
    """Why a page does not start, as the reason of a `SettingsError`."""
    return f"cannot listen on {bracketed(host)}:{port}: {error.strerror or error}"


def origin_of(url: str) -> str:
    """Scheme, host and port of an address as browsers write an Origin: in small letters, without the scheme's own port."""
    scheme, _, rest = url.lower().partition("://")
    return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0].removesuffix(OWN_PORTS.get(scheme, ':'))}"
