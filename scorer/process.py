"""What binds and limits a child process. Linux only; used by the sampling children, ffmpeg, the embedded broker, `fvq up`."""

from __future__ import annotations

import ctypes
import resource
import signal
from pathlib import Path

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Make the kernel kill this process when its parent ends, even by kill -9, and ignore Ctrl-C, which the parent handles.

    For `preexec_fn` of a subprocess, or as the first call of a child. The kernel takes the *thread* that started the child
    as its parent: the child dies when that thread ends. A parent that ended before this call is not noticed.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def forbid_core_dump(pid: int = 0) -> None:
    """Keep the kernel from writing a process's memory to disk when it crashes: it would hold people's faces. pid: see `limit`."""
    limit(resource.RLIMIT_CORE, 0, pid)


def data_bytes() -> int:
    """Bytes of this process that count against `RLIMIT_DATA` now."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) * 1024


def limit(kind: int, maximum: int, pid: int = 0) -> None:
    """Set a resource limit, soft and hard.

    kind: one of `resource.RLIMIT_*`. maximum: in that limit's unit. pid: of a child, 0 for this process. A child that has
    ended already is no error; a hard limit that is lower already stays.
    """
    try:
        resource.prlimit(pid, kind, (maximum, maximum))
    except (ProcessLookupError, PermissionError):
        return
