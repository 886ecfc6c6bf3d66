"""Which page in a browser has sent a request: the rating page, or the page of another site."""

from __future__ import annotations

from collections.abc import Mapping

from streams.addresses import origin_of


def is_foreign(headers: Mapping[str, str], host: str, url: str | None) -> bool:
    """Whether a browser sends this request for the page of another site.

    headers: the request's. host: the host that was asked for, with its port. url: the page's address as browsers see it, where
    that is known: a proxy may ask for another host than the browser did. A program that is no browser sends neither header.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if site is not None:  # the browser's own word; browsers send it over TLS and to this machine
        return site != "same-origin"
    if origin is None:
        return False
    sender = _host(origin)
    # "null" is the origin of a page in a closed frame. It has no host, and is never ours.
    return not sender or sender not in {host.lower(), _host(origin_of(url or ""))}


def _host(address: str) -> str:
    """Host and port of an address as http://host:port/path; empty where it has none."""
    return address.partition("://")[2].partition("/")[0].lower()
