"""What runs inside a sampling child: limits, loading, then one task after another from the pipe."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

import cv2

from scorer.errors import MediaError
from scorer.process import data_bytes, die_with_parent, forbid_core_dump, limit
from scorer.sampling.detectors import process_detectors
from scorer.sampling.pool import OverMemory
from scorer.sampling.shared_memory import SharedMemory


def child_main(pipe: Connection, memory_file: int, memory_mb: int, parent: int) -> None:
    """Load everything, send None (or what is wrong, as text), then answer the (function, arguments) that come by the pipe.

    An answer is the function's result, or the exception to raise, or an `OverMemory`; it is sent as the memory packs it.
    memory_file: descriptor of that memory. memory_mb: MiB that tasks may allocate. parent: process id of the parent.
    """
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the call above, which does not notice that
    # A service manager's stop is sent to the whole process group: the parent finishes its segments, then ends its children.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    forbid_core_dump()
    try:
        _load()
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    # RLIMIT_DATA, not RLIMIT_AS: libraries reserve far more addresses than they use. The limit counts from what is
    # allocated now, because that grows with the machine's cores (stacks and buffers of thread pools).
    limit(resource.RLIMIT_DATA, data_bytes() + memory_mb * 2**20)
    memory = SharedMemory(memory_file)
    pipe.send(None)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(memory.pack(_answer(function, arguments)))


def _load() -> None:
    cv2.setNumThreads(1)
    import_module("scorer.sampling.sampler")  # before the limits, and before the first task waits for it
    process_detectors()


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    try:
        return function(*arguments)
    except MediaError as error:
        return error
    except MemoryError:
        return OverMemory()
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            return OverMemory()
        return MediaError(f"sampling failed: {error.err}", kind="failed")
    except Exception as error:
        if _is_over_memory(error):
            return OverMemory()
        return MediaError(f"sampling failed: {type(error).__name__}: {error}", kind="failed")


def _is_over_memory(error: Exception) -> bool:
    """Whether an error that is no `MemoryError` came from the limit: a thread or a process needs memory for its stack."""
    if isinstance(error, RuntimeError):
        return "can't start new thread" in str(error)
    return isinstance(error, OSError) and error.errno in (errno.EAGAIN, errno.ENOMEM)
