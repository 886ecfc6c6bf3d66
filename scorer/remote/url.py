"""The address of a served scorer as an operator writes it."""

from __future__ import annotations

import ipaddress

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

_PRIVATE_ENDINGS = (".local", ".internal", ".svc", ".localhost", ".localdomain", ".lan", ".home.arpa")
"""Ends of names that no public name server has."""


def checked_url(text: str) -> str:
    """A base URL without a slash at its end. Raises ValueError, whose words leave the text out: it may hold a password."""
    url = _parse(text)
    if url.auth is not None:
        raise ValueError("an address must hold no user and no password: set the scorer's token")
    if url.query is not None or url.fragment is not None:
        raise ValueError("an address must end with its host, its port or its path, without `?` and `#`")
    return text.rstrip("/")


def sends_in_clear(text: str) -> bool:
    """Whether what is sent there can be read on its way: http to a host that is not known to be private."""
    url = _parse(text)
    host = (url.host or "").strip("[]").rstrip(".")
    if url.scheme == "https":
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE_ENDINGS)


def _parse(text: str) -> Url:
    if not (text.isascii() and text.isprintable()) or " " in text or "\\" in text:
        raise ValueError("an address has a character in it that no address has")
    try:
        url = parse_url(text)
    except LocationParseError:
        raise ValueError("is no address: write http://host:port or https://host") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("is no address: write http://host:port or https://host")
    return url
