"""A served scorer that scores by brightness, and does whatever a test asks of it instead.

In a thread of the test, or as a process that can be killed: `python -m tests.support.scripted_scorer PORT [VERSION]`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scorer.remote.wire import MEDIA_TYPE, OtherSpecError, WireError, unpack
from scorer.spec import LEVELS, SamplerSpec, level_of
from tests.support.doubles import SPEC

FAULTS = (
    "hang",
    "reset",
    "drip",
    "drip-headers",
    "garbage",
    "deep",
    "huge",
    "nan",
    "over",
    "count",
    "level",
    "redirect",
    "length",
)
"""Besides these, a number is the status of every answer."""


@dataclass
class Script:
    """What the scorer does. It may be changed while the scorer runs.

    fault: one of `FAULTS` or a status; '' for none. retry_after: the header of an answer with a status. only: the path to which
    the fault applies; '' for all. token: the only one that is taken. most_clips: of one request. refused: a clip with this
    brightness, rounded, is answered with 422. refuses_all: every clip is answered with 400.
    """

    fault: str = ""
    retry_after: str = ""
    only: str = ""
    spec: SamplerSpec = SPEC
    token: str = ""
    most_clips: int = 256
    refused: int = -1
    refuses_all: bool = False
    version: str = "1"
    seconds: float = 0.0
    statistics: int = 20


class ScriptedScorer:
    """Serves at `url` while the context lasts. script: what it does. batches: the clips of each request that it answered with
    scores. asked: the number of requests; connections: of TCP connections.
    """

    def __init__(self, port: int = 0, **script: Any) -> None:
        self.script = Script(**script)
        self.batches: list[int] = []
        self.asked = self.connections = 0
        self.open: list[socket.socket] = []
        self.released = threading.Event()
        owner = self

        class Handler(_Handler):
            scorer = owner

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def use_tls(self, folder: Path) -> Path:
        """Serve with TLS from now on, by a certificate that openssl makes in the folder. Returns the certificate's file."""
        key, certificate = folder / "key.pem", folder / "certificate.pem"
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
        names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([*made, *names], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.port}"
        return certificate

    def behave(self, **changes: Any) -> None:
        """Change the script; without arguments, behave well."""
        for name, value in ({"fault": "", "retry_after": "", "only": ""} | changes).items():
            assert hasattr(self.script, name), name
            setattr(self.script, name, value)

    def hang_up(self) -> None:
        """Close all connections, as a server does with those that are idle."""
        for connection in self.open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Serve until the process ends."""
        self._server.serve_forever(poll_interval=0.05)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    scorer: ScriptedScorer

    def setup(self) -> None:
        super().setup()
        self.scorer.connections += 1
        self.scorer.open.append(self.connection)

    def do_GET(self) -> None:
        script = self.scorer.script
        if self._begins_well("/v1/model"):
            limits = {"clips": script.most_clips, "body_bytes": 10**9}
            page = {
                "name": "scripted",
                "version": script.version,
                "spec": asdict(script.spec),
                "statistics": script.statistics,
                "limits": limits,
            }
            self._answer(200, page)

    def do_POST(self) -> None:
        script = self.scorer.script
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == MEDIA_TYPE
        if not self._begins_well("/v1/score"):
            return
        time.sleep(script.seconds)
        try:
            clips = unpack(body, script.spec, script.statistics, script.most_clips)
        except OtherSpecError as error:
            self._answer(409, {"title": "another specification", "detail": str(error), "spec": asdict(script.spec)})
            return
        except WireError as error:
            self._answer(400, {"title": "wrong body", "detail": str(error)})
            return
        if script.refuses_all:
            self._answer(400, {"detail": "this version takes no such body"})
            return
        values = [float(clip.frames.mean() / 255 * 100) for clip in clips]
        if script.refused in [round(clip.frames.mean()) for clip in clips]:
            self._answer(422, {"title": "not scorable", "detail": "the model gave no number"})
            return
        self.scorer.batches.append(len(clips))
        self._answer(200, self._scores(values))

    def _scores(self, values: list[float]) -> Any:
        fault = self.scorer.script.fault
        scores: list[dict[str, Any]] = [
            {
                "score": round(value, 2),
                "level": level_of(value),
                "level_probs": {name: float(name == level_of(value)) for name in LEVELS},
                "uncertainty": 5.0,
            }
            for value in values
        ]
        if fault == "nan":
            scores[-1]["score"] = float("nan")
        if fault == "over":
            scores[-1]["score"] = 100.5
        if fault == "level":
            scores[-1]["level"] = "superb"
        if fault == "count":
            scores.pop()
        return {"model": {"name": "scripted", "version": self.scorer.script.version}, "scores": scores}

    def _begins_well(self, path: str) -> bool:
        """Whether the request is to be answered as usual; if not, it is answered here."""
        script = self.scorer.script
        self.scorer.asked += 1
        fault = script.fault if script.only in ("", self.path) else ""
        if fault == "hang":
            self.scorer.released.wait(60)
            return False
        if fault == "reset":
            self._head(200, 1000)
            self.wfile.write(b'{"model": ')
            self.wfile.flush()
            # Linger of 0 s: close() sends a reset.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._end()
        elif fault in ("drip", "drip-headers"):
            self._drip(headers=fault == "drip-headers")
        elif fault in ("garbage", "deep"):
            data = b"<html>\x1b[31mhello</html>" if fault == "garbage" else b"[" * 50_000
            self._head(200, len(data))
            self.wfile.write(data)
        elif fault == "huge":
            self._head(200, 10**10)
            while not self.scorer.released.is_set():
                self.wfile.write(b" " * 65536)
        elif fault == "length":
            self._head(200, 10)
            self.wfile.write(b"{}")
            self._end()
        elif fault == "redirect":
            self.send_response(307)
            self.send_header("Location", "http://127.0.0.1:9/v1/score")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif fault.isdigit():
            self._answer(int(fault), {"title": "fault", "detail": "fault of the test"})
        elif script.token and self.headers.get("Authorization") != f"Bearer {script.token}":
            self._answer(401, {"title": "no token"})
        elif self.path != path:
            self._answer(404, {"title": "no such page"})
        else:
            return True
        return False

    def _drip(self, headers: bool) -> None:
        line = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
        self.wfile.write(line[:9] if headers else line)
        while not self.scorer.released.wait(0.05):
            self.wfile.write(b" ")
            self.wfile.flush()

    def _end(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_WR) if self.scorer.script.fault == "length" else self.connection.close()

    def _head(self, status: int, length: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(length))
        if status != 200 and self.scorer.script.retry_after:
            self.send_header("Retry-After", self.scorer.script.retry_after)
        self.end_headers()

    def _answer(self, status: int, values: Any) -> None:
        data = json.dumps(values).encode()
        self._head(status, len(data))
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


if __name__ == "__main__":
    ScriptedScorer(int(sys.argv[1]), version=sys.argv[2] if len(sys.argv) > 2 else "1").serve()
