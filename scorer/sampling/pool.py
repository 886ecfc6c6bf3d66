"""Sampling in child processes, so that hostile media can cost a child at most: its time, its memory, its life."""

from __future__ import annotations

import concurrent.futures
import ctypes
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pebble import ProcessExpired, ProcessPool

from scorer.errors import MediaError
from scorer.spec import SampledClip, SamplerSpec, Window

Sampled = list[tuple[Window, SampledClip]]
PR_SET_PDEATHSIG = 1
TASKS_PER_CHILD = 2000
"""A child is replaced after so many: leaks of the decoders stay small."""


class SamplerPool:
    """`workers` children that run `scorer.sampling.sample`, each within `timeout` seconds and `memory_mb` MiB a task."""

    def __init__(self, spec: SamplerSpec, workers: int, timeout: float, memory_mb: int) -> None:
        self.workers = workers
        self._spec = spec
        self._timeout = timeout
        self._memory_mb = memory_mb
        # Never fork: the parent has threads (torch, the event loop), and their locks would be copied locked.
        self._pool = ProcessPool(
            max_workers=workers,
            max_tasks=TASKS_PER_CHILD,
            initializer=_prepare_child,
            initargs=(memory_mb, os.getpid()),
            context=multiprocessing.get_context("spawn"),
        )

    def submit(self, path: Path, window_seconds: float | None = None, start: float = 0.0, limit: int = 16) -> Future[Sampled]:
        """Sample a file in a child (see `scorer.sampling.sample`); the future raises `MediaError` alone."""
        return self.submit_task(_sample, path, self._spec, window_seconds, start, limit)

    def submit_task(self, task: Callable[..., Sampled], *arguments: Any) -> Future[Sampled]:
        """Run a function of a module in a child, under the same limits and with the same errors."""
        answer: Future[Sampled] = Future()
        inner = self._pool.schedule(task, args=list(arguments), timeout=self._timeout)
        inner.add_done_callback(lambda done: self._translate(done, answer))
        return answer

    def _translate(self, done: Future[Sampled], answer: Future[Sampled]) -> None:
        if not answer.set_running_or_notify_cancel():
            return
        if done.cancelled():
            answer.set_exception(MediaError("sampling was stopped before the segment's turn", kind="stopped"))
            return
        error = done.exception()
        if error is None:
            answer.set_result(done.result())
        elif isinstance(error, MediaError):
            answer.set_exception(error)
        elif isinstance(error, concurrent.futures.TimeoutError):
            answer.set_exception(MediaError(f"decoding and sampling took more than {self._timeout:g} s", kind="timeout"))
        elif isinstance(error, MemoryError):
            answer.set_exception(MediaError(f"sampling needs more than the limit of {self._memory_mb} MiB", kind="memory"))
        elif isinstance(error, ProcessExpired):
            answer.set_exception(
                MediaError("the sampling process died on this media: it is damaged, or needs too much memory", kind="killed")
            )
        else:
            answer.set_exception(MediaError(f"sampling failed: {type(error).__name__}: {error}"))

    def close(self) -> None:
        """Stop the children now; what is under way is given up."""
        self._pool.stop()
        self._pool.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _sample(path: Path, spec: SamplerSpec, window_seconds: float | None, start: float, limit: int) -> Sampled:
    # Imported in the child: the parent need not load MediaPipe.
    from scorer.sampling.sampler import sample

    return sample(path, spec, window_seconds, start, limit)


def _prepare_child(memory_mb: int, parent: int) -> None:
    # The parent may be killed with -9; a child must not outlive it. It may also be dead already.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Data, not address space: libraries reserve far more addresses than they ever touch.
    resource.setrlimit(resource.RLIMIT_DATA, (memory_mb * 2**20, memory_mb * 2**20))
    os.environ |= {"GLOG_minloglevel": "3", "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    devnull = os.open(os.devnull, os.O_WRONLY)
    # MediaPipe writes its own log to the terminal, whatever the levels say.
    os.dup2(devnull, 2)
    import cv2

    cv2.setNumThreads(1)
