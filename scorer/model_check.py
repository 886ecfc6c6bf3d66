"""A model directory is tried in a child process with limits before this process loads it: it may come from anyone.

The child reads the directory as `load_engine` does. Of a network it takes the shapes and no numbers (torch's device "meta"), so
that one of 16 GB is tried in seconds and a few hundred MB. A graph, which is small, scores a test clip. What would hang, crash or
bloat the worker does so in the child, and costs a `ModelError`. No torch here: the child limits itself before it loads anything.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scorer.errors import ModelError, cannot_be_read_now, lacks_memory
from scorer.model_files import check_model_files
from scorer.process import data_bytes, die_with_parent, forbid_core_dump, limit
from scorer.spec import SPEC_FILE, ModelId

START_SECONDS = 180.0
"""Time for the child to load its libraries, s. They take 5 s, and 20 s on a machine that is busy and has not read them before."""

CHECK_SECONDS = 60.0
"""Time for the check itself, s. The shipped model takes 1 s, an InternVL of 8 GB 5 s."""

CHECK_MEMORY_MB = 2048
"""MiB that the check may allocate."""

SOUND = "sound"
"""The child's answer where the model may be loaded."""

UNREADABLE = "unreadable: "
"""How the child's reason begins where a file cannot be read now, which says nothing about the model."""

FORBIDDEN_EVENTS = ("socket.connect", "socket.getaddrinfo", "pickle.find_class", "os.system", "os.exec")
"""Python's audit events that end the check: no model needs the network, a pickle or a shell to be loaded."""


def check_model(directory: Path, device: str) -> None:
    """Raise `ModelError` where a model directory is not one to load, within `START_SECONDS` + `CHECK_SECONDS`.

    device: where the model is going to score: "cpu" or "cuda" in torch, or "graph" for its exported graph.
    """
    try:
        os.lstat(directory / SPEC_FILE)
    except FileNotFoundError:  # before the files: those of any folder, of recordings say, are too large or no files
        raise ModelError(f"model {directory}: it has no {SPEC_FILE}: name a folder that `fvq train` made") from None
    except OSError as error:
        raise ModelError(f"model {directory}: {error}") from error
    check_model_files(directory)
    # A program of its own and no `multiprocessing`: that would load the caller's main module, and print what a killed child left.
    # -P: no module is taken from the working directory.
    command = [sys.executable, "-P", "-m", "scorer.model_check", str(directory), device, str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        answer = _Answer(process.stdout.fileno())
        try:
            if not answer.read(START_SECONDS, until=b"\n"):
                raise ModelError(
                    f"model {directory}: it cannot be checked: a process takes more than {START_SECONDS:g} s to start"
                )
            if not answer.read(CHECK_SECONDS):
                raise ModelError(f"model {directory}: to load it takes more than {CHECK_SECONDS:g} s, or never ends")
        finally:
            process.kill()
    reason = answer.text.removeprefix("\n")
    if not reason and process.returncode == -signal.SIGKILL:
        # Its own limits end it otherwise: by an answer.
        raise ModelError(
            f"model {directory}: the process that tries to load it was killed, as where memory is short"
        ) from MemoryError()
    if reason.startswith(UNREADABLE):
        raise ModelError(reason.removeprefix(UNREADABLE)) from OSError(errno.EIO, "a file cannot be read now")
    if reason != SOUND:
        raise ModelError(reason or f"model {directory}: the process that tries to load it ends early")


class _Answer:
    """What the child has written so far. A quick one has written everything before the first of it is read."""

    def __init__(self, file: int) -> None:
        self._file, self._bytes = file, b""

    @property
    def text(self) -> str:
        return self._bytes.decode(errors="replace")

    def read(self, seconds: float, until: bytes | None = None) -> bool:
        """Read until these bytes have come, or to the end; returns False where that takes longer than the time."""
        deadline = time.monotonic() + seconds
        while until is None or until not in self._bytes:
            if not select.select([self._file], [], [], max(0.0, deadline - time.monotonic()))[0]:
                return False
            if not (data := os.read(self._file, select.PIPE_BUF)):
                return True
            self._bytes += data
        return True


def _check_and_answer(directory: Path, device: str, parent: int) -> None:
    """What runs in the child. It writes a line when its libraries are loaded, then `SOUND` or the reason why not to load."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the call above, which does not notice that
    forbid_core_dump()
    os.environ |= {"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    # The libraries print what they think of a model.
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    trial = _trial(device)

    # RLIMIT_DATA, not RLIMIT_AS: libraries reserve far more addresses than they use.
    limit(resource.RLIMIT_DATA, data_bytes() + CHECK_MEMORY_MB * 2**20)
    os.write(answers, b"\n")
    sys.addaudithook(_forbid)
    try:
        trial(directory)
        reason = SOUND
    except Exception as error:
        reason = error.reason if isinstance(error, ModelError) else f"model {directory}: {type(error).__name__}: {error}"
        if lacks_memory(error):
            reason = f"model {directory}: to load it takes more than {CHECK_MEMORY_MB} MiB beside its weights"
        elif cannot_be_read_now(error):
            reason = UNREADABLE + reason
    os.write(answers, reason.encode(errors="replace")[: select.PIPE_BUF])
    os._exit(0)  # past what the libraries do at the end


def _trial(device: str) -> Callable[[Path], None]:
    """What tries a model directory; its libraries are loaded when this returns."""
    if device == "graph":
        from scorer.runtime.graph import load_graph

        return lambda directory: load_graph(directory, ModelId(directory.name, "")).check()
    from scorer.model.shapes import try_shapes

    return lambda directory: try_shapes(directory, device)


def _forbid(event: str, _arguments: object) -> None:
    if event in FORBIDDEN_EVENTS:
        raise PermissionError(f"to load it asks for {event}")


if __name__ == "__main__":
    _check_and_answer(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
