"""The wall of `fvq up`: the same `fvq web` as on a cluster, as a child beside the worker, on loopback alone."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from streams.local.processes import own_settings, running, tell_to_stop
from streams.ports import free_port
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
