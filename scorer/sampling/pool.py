"""Sampling in child processes, so that hostile media can cost a child at most: its time, its memory, its life.

One thread per child, one pipe between them: no lock or queue is shared by the children, so that one that is killed in the
middle of its answer takes nothing else with it. (pebble's and the standard library's pools share theirs, and are broken
by a child that dies while it is idle.)
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType, TracebackType
from typing import Any, Self

from scorer.errors import MediaError
from scorer.spec import SampledClip, SamplerSpec, Window

Sampled = list[tuple[Window, SampledClip]]
PR_SET_PDEATHSIG = 1
START_SECONDS = 120.0
"""A child that has not loaded its libraries and models by then never will; on a busy machine it takes 5 s."""

TASKS_PER_CHILD = 2000
"""A child is replaced after so many: leaks of the decoders stay small."""

_starting = threading.Lock()
"""multiprocessing's list of children is not made for two threads that start one at a time."""


class SamplerPool:
    """`workers` children that run `scorer.sampling.sample`; a child that dies is replaced.

    timeout: seconds that one task may take. memory_mb: MiB that a task may allocate, on top of what a child's libraries
    and models take. The children end with this process, however it ends.
    """

    def __init__(self, spec: SamplerSpec, workers: int, timeout: float, memory_mb: int) -> None:
        self.workers = workers
        self._spec = spec
        self._timeout = timeout
        self._memory_mb = memory_mb
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._closing = threading.Event()
        self._keepers = [_Keeper(self._tasks, timeout, memory_mb, self._closing) for _ in range(workers)]

    def submit(self, path: Path, window_seconds: float | None = None, start: float = 0.0, limit: int = 16) -> Future[Sampled]:
        """Sample a file in a child (see `scorer.sampling.sample`); the future raises `MediaError` alone.

        Kinds, besides those of the sampler: `timeout`, `memory` (over the limit), `killed` (the child died),
        `stopped` (the pool was closed), `setup` (no child can start). Before its turn it can be cancelled.
        """
        return self.submit_task(_sample, path, self._spec, window_seconds, start, limit)

    def submit_task(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a module's function in a child, under the same limits and with the same errors."""
        task = _Task(function, arguments, Future())
        if self._closing.is_set():
            raise RuntimeError("the sampler pool is closed")
        self._tasks.put(task)
        return task.answer

    def pids(self) -> list[int]:
        """Process ids of the children that are running."""
        return [keeper.child.pid for keeper in self._keepers if keeper.child is not None]

    def close(self) -> None:
        """Stop the children now; what waits or is under way is answered with `MediaError(kind="stopped")`."""
        self._closing.set()
        for _ in self._keepers:
            self._tasks.put(None)
        for keeper in self._keepers:
            keeper.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True)
class _Task:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    answer: Future[Any]


class _Keeper:
    """A thread that keeps one child and hands it tasks.

    The kernel kills a child (PDEATHSIG) when the *thread* that started it ends, so it is this thread that starts it.
    """

    def __init__(self, tasks: SimpleQueue[_Task | None], timeout: float, memory_mb: int, closing: threading.Event) -> None:
        self.child: _Child | None = None
        self._tasks, self._timeout, self._memory_mb, self._closing = tasks, timeout, memory_mb, closing
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # Started before there is work, so that the first segment need not wait for the libraries.
        with contextlib.suppress(MediaError):
            self._ready_child()
        while (task := self._tasks.get()) is not None:
            if not task.answer.set_running_or_notify_cancel():
                continue
            try:
                result = self._run_task(task)
            except MediaError as error:
                stopped = MediaError("sampling was stopped before the segment was done; send it again", kind="stopped")
                task.answer.set_exception(stopped if self._closing.is_set() else error)
            except Exception as error:
                # Not the media's fault, but an unanswered future would stall its stream.
                task.answer.set_exception(MediaError(f"sampling failed: {type(error).__name__}: {error}", kind="failed"))
            else:
                task.answer.set_result(result)
        if self.child is not None:
            self.child.end()

    def _run_task(self, task: _Task) -> Any:
        try:
            return self._ready_child().run(task.function, task.arguments, self._timeout, self._memory_mb)
        except MediaError as error:
            # Perhaps not by this task: a child that was killed while idle looks alive until its last thread is gone,
            # and the kernel kills for memory whom it likes. What kills twice is the media.
            if error.kind != "killed" or self._closing.is_set():
                raise
            return self._ready_child().run(task.function, task.arguments, self._timeout, self._memory_mb)

    def _ready_child(self) -> _Child:
        if self._closing.is_set():
            raise MediaError("the sampler pool is closed", kind="stopped")
        if self.child is not None and not self.child.usable():
            self.child.end()
            self.child = None
        if self.child is None:
            self.child = _Child(self._memory_mb)
        self.child.wait_ready()
        return self.child

    def stop(self) -> None:
        """End the child in the middle of what it does, and the thread after it."""
        while self._thread.is_alive():
            # Again and again: the thread may be just starting one.
            child = self.child
            if child is not None:
                child.kill()
            self._thread.join(0.05)


class _Child:
    """One child process and the pipe to it."""

    def __init__(self, memory_mb: int) -> None:
        # Never fork: the parent has threads (torch, the event loop), and their locks would be copied locked.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_child_main, args=(theirs, memory_mb, os.getpid()), name="fvq-sampler", daemon=True
        )
        with _starting:
            self._process.start()
        # Its end is the child's alone, so that the child's death closes the pipe.
        theirs.close()
        self.pid = self._process.pid or 0
        self._ready = False
        self._killed = False
        self._left = TASKS_PER_CHILD

    def wait_ready(self) -> None:
        """Until it has loaded everything; raises `MediaError(kind="setup")` where it cannot."""
        if self._ready:
            return
        try:
            problem = self._pipe.recv() if self._pipe.poll(START_SECONDS) else f"it took more than {START_SECONDS:g} s"
        except (EOFError, OSError):
            problem = f"it ended with {self._ending()}"
        if problem is not None:
            self.kill()
            raise MediaError(f"no sampling process can start: {problem}; `fvq doctor` looks for the cause", kind="setup")
        self._ready = True

    def run(self, function: Callable[..., Any], arguments: tuple[Any, ...], timeout: float, memory_mb: int) -> Any:
        """What the function answers in the child; raises `MediaError`, and the child is then used up where it died."""
        self._left -= 1
        try:
            self._pipe.send((function, arguments))
            if not self._pipe.poll(timeout):
                self.kill()
                raise MediaError(f"sampling took more than {timeout:g} s; send shorter segments", kind="timeout")
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            ending = self._ending()
            self.kill()
            raise MediaError(
                f"the sampling process ended with {ending}: the media is damaged, or the machine is out of memory", "killed"
            ) from error
        if isinstance(answer, _OverMemory):
            self.kill()  # its heap is in pieces
            raise MediaError(f"sampling needs more than the limit of {memory_mb} MiB; send smaller pictures", kind="memory")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def usable(self) -> bool:
        return self._left > 0 and not self._killed and self._process.is_alive()

    def kill(self) -> None:
        # Remembered, because the process is still alive for a moment.
        self._killed = True
        self._process.kill()

    def end(self) -> None:
        self.kill()
        self._process.join()
        self._pipe.close()

    def _ending(self) -> str:
        self._process.join(5)
        code = self._process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"code {code}"


class _OverMemory:
    """The child's answer where a task went over the memory limit."""


def _sample(path: Path, spec: SamplerSpec, window_seconds: float | None, start: float, limit: int) -> Sampled:
    from scorer.sampling.sampler import sample

    return sample(path, spec, window_seconds, start, limit)


def _child_main(pipe: Connection, memory_mb: int, parent: int) -> None:
    # The parent may be killed with -9; a child must not outlive it. It may also be dead already.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    # Ctrl-C and a service manager's stop reach the whole group: the parent finishes what it has taken, then ends its children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump would hold people's faces
    try:
        _load()
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
        return
    # Data, not address space: libraries reserve far more addresses than they touch. On top of what is there, because
    # that grows with the machine's cores (stacks and buffers of thread pools).
    limit = _data_bytes() + memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    pipe.send(None)
    while True:
        try:
            function, arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(_answer(function, arguments))


def _load() -> None:
    os.environ |= {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    # MediaPipe writes its own log to the terminal, whatever the levels say.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # MediaPipe's drawing helpers import pyplot, which takes three quarters of a child's start; nothing is drawn here.
    sys.modules["matplotlib"], sys.modules["matplotlib.pyplot"] = matplotlib, pyplot = ModuleType("m"), ModuleType("p")
    matplotlib.pyplot = pyplot  # type: ignore[attr-defined]
    import cv2

    from scorer.sampling.detectors import process_detectors

    cv2.setNumThreads(1)
    process_detectors()


def _data_bytes() -> int:
    """What counts against RLIMIT_DATA, now."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmData:")[1].split()[0]) * 1024


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    import cv2

    try:
        return function(*arguments)
    except MediaError as error:
        return error
    except MemoryError:
        return _OverMemory()
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            return _OverMemory()
        return MediaError(f"sampling failed: {error.err}", kind="failed")
    except Exception as error:
        return MediaError(f"sampling failed: {type(error).__name__}: {error}", kind="failed")
