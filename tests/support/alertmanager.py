"""Stands for an Alertmanager's silences: a web server on 127.0.0.1 that keeps them in memory."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

LONGEST_WHOLE = 2048
"""A longer answer is sent in pieces, as Go's server does."""


@dataclass
class SilenceServer:
    """Its address, its silences by id, and the requests that it answered, as `METHOD path`. most_bytes: of one silence."""

    url: str
    silences: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    most_bytes: int = 1 << 20

    def active(self) -> list[dict[str, Any]]:
        """The silences that have not been ended."""
        return [silence for silence in self.silences.values() if silence["status"]["state"] == "active"]


@contextmanager
def silence_server() -> Iterator[SilenceServer]:
    """A running server. A silence without matchers is in every list."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, content: object, status: int = 200) -> None:
            body = json.dumps(content).encode()
            server.requests.append(f"{self.command} {self.path.partition('?')[0]}")
            self.send_response(status)
            if len(body) <= LONGEST_WHOLE:
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                return
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in (body[:LONGEST_WHOLE], body[LONGEST_WHOLE:], b""):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))

        def do_GET(self) -> None:
            wanted = dict(map(_matcher, parse_qs(self.path.partition("?")[2])["filter"]))
            silences = server.silences.values()
            self._answer(
                [
                    silence
                    for silence in silences
                    if all(wanted[matcher["name"]] == matcher["value"] for matcher in silence.get("matchers", ()))
                ]
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            silence = json.loads(body)
            if len(body) > server.most_bytes:
                self._answer("silence exceeded maximum size", 400)
                return
            name = silence.setdefault("id", f"silence-{len(server.silences)}")
            server.silences[name] = silence | {"status": {"state": "active"}}
            self._answer({"silenceID": name})

        def do_DELETE(self) -> None:
            server.silences[self.path.rpartition("/")[2]]["status"]["state"] = "expired"
            self._answer({})

        def log_message(self, *_: object) -> None:
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = SilenceServer(f"http://127.0.0.1:{listener.server_port}")
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


def _matcher(text: str) -> tuple[str, str]:
    """The name and the value of a filter, read as Alertmanager does: it knows three escapes, and takes others as they are."""
    name, _, quoted = text.partition("=")
    return name, re.sub(r'\\([n"\\])', lambda found: "\n" if found[1] == "n" else found[1], quoted[1:-1])
