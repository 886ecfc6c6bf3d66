"""What libraries write past the log, as log lines: a program that reads JSON gets nothing else from this process's streams.

C and C++ libraries write to the descriptors of standard output and error themselves, as do spinners, banners, and this process's
children. Both descriptors become a pipe here, and a thread makes a log line of each line in it.

What a library writes while it kills the process is lost, as no thread runs any more: `FVQ_LOG_FORMAT=text` shows it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, TextIOWrapper

log = logging.getLogger(__name__)

PIPE_BYTES = 2**20
"""Room in the pipe: a library that holds Python's lock while it writes more than that at once would wait for ever."""

LONGEST_BYTES = 65536
"""A longer line is cut in pieces."""

NAMES = {1: "stdout", 2: "stderr"}


@contextmanager
def foreign_lines_logged() -> Iterator[None]:
    """While the context lasts, the log's own handlers write to standard error, and everybody else's lines become log lines.

    A line has the logger `stdout` or `stderr`, and the level warning: libraries' own levels are not known.
    """
    own = os.fdopen(os.dup(2), "w", errors="backslashreplace", buffering=1)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.setStream(own)
    _flush()
    saved = {number: os.dup(number) for number in NAMES}
    readers = [_redirected(number) for number in NAMES]
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        _flush()
        for number, descriptor in saved.items():
            os.dup2(descriptor, number)  # closes this process's end of the pipe
            os.close(descriptor)
        for reader in readers:
            reader.join(1)  # a child that still runs keeps its pipe open


def _redirected(number: int) -> threading.Thread:
    """Put a pipe in the place of a descriptor; returns the thread that reads it."""
    reading, writing = os.pipe()
    with suppress(PermissionError):  # the system's limit is lower: the pipe keeps its usual 64 KiB
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    os.dup2(writing, number)
    os.close(writing)
    thread = threading.Thread(target=_log_lines, args=(os.fdopen(reading, "rb"), NAMES[number]), name=NAMES[number], daemon=True)
    thread.start()
    return thread


def _log_lines(pipe: BufferedReader, name: str) -> None:
    lines = logging.getLogger(name)
    with pipe:
        while data := pipe.readline(LONGEST_BYTES):
            # A progress bar writes over itself: each of its states is a line here.
            for line in data.decode(errors="backslashreplace").replace("\r", "\n").splitlines():
                if line.strip():
                    lines.warning("%s", line.strip())


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.flush()
