"""A small seeded fleet with hostile ids and labels, served in a process of its own, for tests of the wall's page.

python -m tests.support.wall_page --port 8061
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.alerts.maintenance import Maintenance
from streams.web.access.gate import AccessOptions, Gate
from streams.web.access.limits import WebLimits
from streams.web.access.tokens import Tokens
from tests.support.fleet import Fleet, serve_fleet
from tests.support.fleet_content import Channel, Incident, at_time
from tests.support.servers import free_ports

HOSTILE_IDS = (
    "<img src=x onerror=alert(1)>",
    "a/../b%2Fc",
    "quote\"'`&amp;",
    "\u202eright-to-left\u202c",
    "עברית-7",
    "long-" + "x" * 235,  # the seeded segments' ids are some characters longer, and 256 is the most
    "..; drop",
    "two\nlines",
)
"""Each is a stream with a firing alert, so that its row is in sight."""

HOSTILE_LABELS = {"note": "<script>window.hurt = 1</script>", "tier": "premium", "city": "New\u200bYork"}


def page_fleet(streams: int) -> Fleet:
    """The fleet, with the hostile streams in maintenance and black since half a minute, and an alert that was over yesterday.

    An alert that fires at the start is not over while the tests run, however slow the machine is.
    """
    fleet = Fleet(streams)
    for channel in fleet.channels:
        if channel.incident is not None and channel.incident.end > fleet.now:
            channel.incident.end += 86_400
    quiet = next(channel for channel in fleet.channels if channel.incident is None)
    quiet.incident = Incident("black", "black", fleet.now - 90_000, fleet.now - 86_400)
    for hostile_id in HOSTILE_IDS:
        incident = Incident("black", "black", fleet.now - 30, fleet.now + 3600)
        fleet.channels.append(Channel(hostile_id, HOSTILE_LABELS, (None,), 80.0, 0.0, incident))
    work = {"labels": HOSTILE_LABELS, "from": at_time(fleet.now - 60), "to": at_time(fleet.now + 7200)}
    fleet.live.works.use([Maintenance.model_validate(work)])
    return fleet


class Server:
    """The server's process. It can be killed, and started again at the same address."""

    def __init__(self, streams: int, tokens: Path | None = None) -> None:
        self.port = free_ports(1)  # nobody else may be given it while the server is down
        self.streams, self.tokens = streams, tokens
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers with scores of now."""
        command = [sys.executable, "-m", "tests.support.wall_page", "--port", str(self.port), "--streams", str(self.streams)]
        if self.tokens is not None:
            command += ["--tokens", str(self.tokens)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            assert self._process.poll() is None, "the server ended by itself"
            try:
                with urllib.request.urlopen(f"{self.address}/api/v1/summary", timeout=5) as answer:
                    # The fleet first makes up for the seconds that its own start took.
                    if json.load(answer)["stale"] <= self.streams / 50:
                        return
                    time.sleep(0.1)
            except urllib.error.HTTPError as refused:
                if refused.code == 401:  # it asks for a token, so it is there
                    return
            except (urllib.error.URLError, TimeoutError):
                time.sleep(0.1)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """End it without a goodbye."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def serving(streams: int = 300, tokens: Path | None = None) -> Iterator[Server]:
    """A started server; it is killed at the end. tokens: the file of those who may come in; None for whoever is on loopback."""
    server = Server(streams, tokens)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def main() -> None:
    """Serve the fleet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--streams", type=int, default=300)
    parser.add_argument("--tokens", type=Path, help="a tokens' file: without it, whoever is on loopback may come in")
    options = parser.parse_args()
    gate = Gate(AccessOptions("127.0.0.1", Tokens(options.tokens))) if options.tokens else None
    asyncio.run(serve_fleet(page_fleet(options.streams), options.port, WebLimits(rate=500, burst=2000), gate))


if __name__ == "__main__":
    main()
