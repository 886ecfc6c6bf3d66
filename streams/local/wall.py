"""The worker and the wall of `fvq up`: the same commands as on a cluster, as children, on loopback alone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from streams import parts
from streams.local.processes import own_settings, running, tell_to_stop, wait_ready, worker_settings
from streams.ports import free_port
from streams.privacy.statement import kept_lines
from streams.settings import Settings

KEEP_SECONDS = 0.25
"""Between two looks at the processes that stay."""


class Wall:
    """A wall that was started.

    process: its `fvq web`. address: its URL. links: the setting by which the worker's alerts link to it. tell: shows a sentence
    to the user.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], address: str, links: dict[str, str], tell: Callable[[str], None]
    ) -> None:
        self._process, self.address, self.links, self._tell = process, address, links, tell
        self._told = False

    def check(self) -> bool:
        """Whether it runs. Where it has ended by itself, the user is told so once: scores go on without it."""
        if self._process.poll() is None:
            return True
        if not self._told:
            self._told = True
            self._tell(f"the wall ended with code {self._process.returncode} (its lines are above); scores go on without it")
        return False

    def keep(self, worker: subprocess.Popen[bytes]) -> int:
        """Return at Ctrl-C, or where the wall or the worker has ended by itself, of which the user is told; the exit code."""
        if not self._stands(worker):
            return 1
        self._tell(f"the wall stays at {self.address}: Ctrl-C ends it")
        try:
            while self._stands(worker):
                time.sleep(KEEP_SECONDS)
        except KeyboardInterrupt:
            return 0
        return 1

    def _stands(self, worker: subprocess.Popen[bytes]) -> bool:
        """Whether both run; tells of one that has ended."""
        if worker.poll() is not None:
            self._tell(f"the worker ended with code {worker.returncode} (its log lines are above)")
            return False
        return self.check()

    def end(self) -> None:
        """Tell it to stop, without waiting: it stops while the worker does."""
        tell_to_stop([self._process])


def start_wall(stack: ExitStack, settings: Settings, broker: str, media: Sequence[Path], tell: Callable[[str], None]) -> Wall:
    """A wall on this broker, which starts while the caller goes on; its address is told at once. The stack's end ends it.

    media: folders of segments, from which clips may be kept for rating. The port is a free one, unless the user has set
    FVQ_WALL_PORT.
    """
    port = (settings.wall_port if settings.source("wall_port").kind != "default" else 0) or free_port("127.0.0.1")
    address = f"http://127.0.0.1:{port}"
    links = {"FVQ_WEB_URL": settings.web_url or address}
    changes = own_settings(settings, broker, port) | links | {"FVQ_WALL_PORT": str(port)}
    changes["FVQ_MEDIA_ROOTS"] = os.pathsep.join(str(root) for root in [*media, *settings.media_roots])
    wall = Wall(stack.enter_context(running(["web", "--quiet"], changes)), address, links, tell)
    tell(f"the wall: {wall.address}")
    return wall


def start_worker(
    stack: ExitStack,
    settings: Settings,
    broker: str,
    media: Sequence[Path],
    fast: bool,
    wall: Wall | None,
    tell: Callable[[str], None],
) -> subprocess.Popen[bytes]:
    """A worker on this broker that is ready, whose alerts link to the wall. The stack's end ends both beside each other.

    media: folders of segments. fast: no segment is too old. Raises `MediaError` where it ends, or is not ready in time.
    """
    port = free_port("127.0.0.1")
    changes = worker_settings(settings, broker, media, port, fast) | (wall.links if wall is not None else {})
    worker = stack.enter_context(running(["worker"], changes))
    if wall is not None:
        stack.callback(wall.end)
    tell(f"broker {broker}, worker {worker.pid}, metrics at http://127.0.0.1:{port}/metrics")
    tell(kept_lines(parts.keeping(settings))[0])  # the worker's own lines are not shown here
    wait_ready(worker, port)
    return worker
