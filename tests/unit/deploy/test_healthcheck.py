"""The images' health check: it finds the page wherever a process listens, and believes nothing but a 200."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.images import IMAGES
from tests.support.processes import PYTHON, clean_environment


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


class PageOnIPv6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextmanager
def page_on(host: str) -> Iterator[int]:
    """A page at this address; gives its port."""
    with (PageOnIPv6 if ":" in host else ThreadingHTTPServer)((host, 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def check(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script: list[str | Path] = [PYTHON, IMAGES / "healthcheck.py", *arguments]
    return subprocess.run(script, env=clean_environment() | environment, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("host", "environment"),
    [("127.0.0.1", {}), ("::1", {"FVQ_WEB_HOST": "::"}), ("127.0.0.2", {"FVQ_WEB_HOST": "127.0.0.2"}), ("0.0.0.0", {})],
)
def test_a_page_is_found_where_it_listens(host: str, environment: dict[str, str]) -> None:
    with page_on(host) as port:
        assert check(FVQ_WEB_PORT=str(port), **environment).returncode == 0
        assert check(str(port), **environment).returncode == 0
        refused = check(str(port), "/readyz", **environment)
    assert (refused.returncode, "503" in refused.stderr) == (1, True)


def test_nobody_who_listens_is_no_health() -> None:
    with page_on("127.0.0.1") as port:
        pass
    silent = check(str(port))
    assert silent.returncode == 1
    assert f"127.0.0.1:{port}: " in silent.stderr
