"""Runs ffmpeg on a live input for as long as it lasts. What it reads comes through its standard input, addresses too.

A command line is shown to everybody on the machine by `ps`, so no address with a key in it may be an argument.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from scorer.process import forbid_core_dump, limit
from streams.media.ffmpeg import ChildLimits, Finished, program

_LAUNCH = (
    "import ctypes, os, signal, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() != int(sys.argv[1]): os._exit(1)\n"
    "for number in (signal.SIGXFSZ, signal.SIGPIPE): signal.signal(number, signal.SIG_DFL)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
"""Asks the kernel to kill ffmpeg when this process is gone, even by kill -9; else it would keep its port. A program of its own,
because code between fork and exec is not safe in a process with threads. Python ignores two signals, and ffmpeg would, too: then
a file that grows too large would not end it."""

KEPT_BYTES = 8192
"""Of what ffmpeg says: its first words tell the cause, and a damaged stream makes it speak for ever."""


class LiveFfmpeg:
    """A running ffmpeg. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._said = bytearray()
        self._listening = asyncio.create_task(self._listen())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def write(self, data: bytes) -> None:
        """Give it input, and wait while it has enough. Raises OSError where it has ended."""
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        await self._process.stdin.drain()

    def end_input(self) -> None:
        """Tell it that its input is complete."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    async def wait(self) -> Finished:
        """Wait for its end."""
        code = await self._process.wait()
        await self._listening
        return Finished(code, bytes(self._said))

    def finish(self) -> None:
        """Ask it to end its output and itself, whatever it waits for."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)

    async def kill(self) -> None:
        """End it now, if it still runs, and wait for that."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(4096):
            self._said += data[: KEPT_BYTES - len(self._said)]


async def start(
    input_options: Sequence[str], output: Sequence[str], *, protocols: Sequence[str], limits: ChildLimits, folder: Path
) -> LiveFfmpeg:
    """Start ffmpeg on what is written to it.

    input_options: before the input, its format among them. output: the arguments after it. protocols: that it may use to read,
    besides its standard input. folder: where it runs, and where relative paths begin. Raises OSError, and `MediaError` where
    there is no ffmpeg.
    """
    command = [
        program("following a live input"), "-nostdin", "-hide_banner", "-y", "-v", "error", "-protocol_whitelist",
        ",".join(("pipe", *protocols)), *input_options, "-i", "pipe:0", *output,
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()), *command,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE, cwd=folder,
        start_new_session=True,
    )  # fmt: skip
    limit(resource.RLIMIT_DATA, limits.memory, process.pid)
    limit(resource.RLIMIT_FSIZE, limits.output, process.pid)
    forbid_core_dump(process.pid)
    return LiveFfmpeg(process)
