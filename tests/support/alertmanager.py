"""Stands for an Alertmanager's silences: a web server on 127.0.0.1 that keeps them in memory."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class SilenceServer:
    """Its address, its silences by id, and the requests that it answered, as `METHOD path`."""

    url: str
    silences: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def active(self) -> list[dict[str, Any]]:
        """The silences that have not been ended."""
        return [silence for silence in self.silences.values() if silence["status"]["state"] == "active"]


@contextmanager
def silence_server() -> Iterator[SilenceServer]:
    """A running server. It lists all silences, whatever filter it is asked for."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, content: object) -> None:
            body = json.dumps(content).encode()
            server.requests.append(f"{self.command} {self.path.partition('?')[0]}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer(list(server.silences.values()))

        def do_POST(self) -> None:
            silence = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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
