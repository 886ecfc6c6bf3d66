"""The address of a served scorer."""

from __future__ import annotations

import pytest

from scorer.remote.url import sends_in_clear


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("https://scorer.example", False),
        ("http://scorer.example:8000", True),
        ("http://8.8.8.8", True),
        ("http://[2001:4860:4860::8888]:8000", True),
        ("http://10.1.2.3:8000", False),
        ("http://127.0.0.1:8000", False),
        ("http://[::1]:8000", False),
        ("http://localhost:8000", False),
        ("http://scorer:8000", False),
        ("http://scorer.fvq.svc.cluster.local:8000", False),
        ("http://gpu.internal.", False),
    ],
)
def test_whether_an_address_sends_in_clear(url: str, clear: bool) -> None:
    assert sends_in_clear(url) is clear
