"""Joining addresses: the short way gives what the standard library gives."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.ingest.hls.addresses import LONGEST_URI, urljoin_safe

pieces = st.lists(st.sampled_from(["a", "B-1", "..", ".", "/", "//", "?", "#", "%2e", ":", ";", "x=1&y", "_", "~", "a.ts", "@"]))


@given(st.sampled_from(["http", "https"]), pieces.map("".join), pieces.map("".join))
@example("http", "a/b.m3u8?c=/d/e", "f.ts")
@example("http", "", "a.ts?")
def test_it_is_what_the_standard_library_says(scheme: str, path: str, reference: str) -> None:
    for base in (f"{scheme}://o.example:81/{path}", f"{scheme}://kim:s%2F3@o.example/{path}", f"{scheme}://o.example"):
        try:
            expected = urljoin(base, reference)
        except ValueError:
            continue
        if expected.startswith("http") and ("@" not in base or "@" in urlsplit(expected).netloc):
            assert urljoin_safe(base, reference) == expected


@pytest.mark.parametrize("reference", ["a/" * LONGEST_URI, "x" * (LONGEST_URI - 5), "file:///etc/passwd", "http://[", "data:,x"])
def test_what_cannot_be_used_is_none(reference: str) -> None:
    assert urljoin_safe("https://o.example/live.m3u8", reference) is None


@pytest.mark.parametrize(
    ("reference", "address"),
    [
        ("1.ts", "https://kim:s%2F3@o.example:8443/live/1.ts"),
        ("/1.ts?a", "https://kim:s%2F3@o.example:8443/1.ts?a"),
        ("https://o.example:8443/1.ts", "https://kim:s%2F3@o.example:8443/1.ts"),
        ("//o.example:8443/1.ts", "https://kim:s%2F3@o.example:8443/1.ts"),
        ("https://lee:x@o.example:8443/1.ts", "https://lee:x@o.example:8443/1.ts"),
        ("https://o.example/1.ts", "https://o.example/1.ts"),
        ("http://o.example:8443/1.ts", "http://o.example:8443/1.ts"),
        ("https://cdn.example/1.ts", "https://cdn.example/1.ts"),
    ],
)
def test_user_and_password_hold_for_their_own_server_alone(reference: str, address: str) -> None:
    assert urljoin_safe("https://kim:s%2F3@o.example:8443/live/a.m3u8", reference) == address
