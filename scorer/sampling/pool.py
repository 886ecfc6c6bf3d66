"""Sampling in child processes: hostile media can hang, crash or bloat a child, and never this process.

One thread for each child, and one pipe between them. The children share no lock and no queue, so a child that is killed in
the middle of its answer harms nothing else. (pebble's pool and the standard library's share theirs between the children:
one that dies while it is idle breaks the pool.)
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.connection import Pipe
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from scorer.errors import MediaError
from scorer.sampling.glance import Glance, glance, headers_only
from scorer.sampling.shared_memory import SharedMemory
from scorer.spec import SampledClip, SamplerSpec, Window

if TYPE_CHECKING:
    from scorer.sampling.facts import VideoFacts
    from scorer.sampling.preview import FacesInPreviews

Sampled = list[tuple[Window, SampledClip]]

START_SECONDS = 120.0
"""Time for a child to load its libraries and models, s. On a busy machine it takes 5 s; a child over the limit is killed."""

TASKS_PER_CHILD = 2000
"""After this number of tasks a child is replaced, so that leaks of the decoders stay small."""

_CHILD = (
    "import signal, sys\n"
    "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    "from multiprocessing.connection import Connection\n"
    "pipe = Connection(int(sys.argv[1]))\n"
    "sys.path[:] = pipe.recv()\n"
    "from scorer.sampling.child import child_main\n"
    "child_main(pipe, *map(int, sys.argv[2:]))"
)
"""The child's program. Not `multiprocessing`'s own: that loads the parent's main module too, the whole command line, and keeps a
process beside the children that does nothing for them. Ctrl-C is the parent's to handle, from the first moment on."""


class OverMemory:
    """The child's answer to a task that went over the memory limit."""


def _sample(*arguments: Any) -> Sampled:
    """`scorer.sampling.sample`, which only children load: it takes the decoders."""
    from scorer.sampling.sampler import sample

    return sample(*arguments)


def _probe(path: Path) -> VideoFacts:
    """`scorer.sampling.probe`, in the same way."""
    from scorer.sampling.probing import probe

    return probe(path)


class SamplerPool:
    """`workers` children that run `scorer.sampling.sample`; a child that dies is replaced.

    timeout: seconds that one task may take. memory_mb: MiB that a task may allocate, on top of what a child's libraries
    and models take. add_busy: is told the seconds of each task that a child is done with, in the thread of that child.
    eager: start all children now; else each when there is a task for which no other is free. The children end with this process,
    however it ends.
    """

    def __init__(
        self,
        spec: SamplerSpec,
        workers: int,
        timeout: float,
        memory_mb: int,
        add_busy: Callable[[float], None] = lambda _: None,
        eager: bool = True,
    ) -> None:
        self.workers = workers
        self._spec = spec
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._closing = threading.Event()
        self._turn = threading.Lock()
        self._unanswered = 0
        self._new_keeper = lambda: _Keeper(self._tasks, timeout, memory_mb, self._closing, add_busy)
        self._keepers = [self._new_keeper() for _ in range(workers if eager else 0)]

    def submit(
        self,
        path: Path,
        window_seconds: float | None = None,
        start: float = 0.0,
        limit: int = 16,
        duration: float | None = None,
        spec: SamplerSpec | None = None,
        preview: FacesInPreviews | None = None,
    ) -> Future[Sampled]:
        """Sample a file in a child (see `scorer.sampling.sample`). The future raises `MediaError` and nothing else.

        spec: instead of the pool's own specification; the children take any.
        Kinds, besides those of the sampler: `timeout`, `memory` (over the limit), `killed` (the child died),
        `stopped` (the pool was closed), `setup` (no child can start). The future can be cancelled while it waits.
        """
        return self.submit_task(_sample, path, spec or self._spec, window_seconds, start, limit, duration, preview)

    def probe(self, path: Path) -> Future[VideoFacts]:
        """What a file's header says (see `scorer.sampling.probe`), read in a child. The future raises as `submit`'s does."""
        return self.submit_task(_probe, path)

    def glance(self, path: Path, picture: bool = True, sound: bool = True) -> Future[Glance]:
        """Look at a segment's packets and one keyframe in a child (see `scorer.sampling.glance`). Errors are those of `submit`.

        picture: False reads the packets only. sound: whether to listen, too.
        """
        return self.submit_task(glance if picture else headers_only, path, sound)

    def submit_task(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Run a module's function in a child, under the same limits and with the same errors."""
        task = _Task(function, arguments, Future())
        if self._closing.is_set():
            raise RuntimeError("the sampler pool is closed")
        with self._turn:
            self._unanswered += 1
            if len(self._keepers) < min(self.workers, self._unanswered):
                self._keepers.append(self._new_keeper())
        task.answer.add_done_callback(self._count_answer)
        self._tasks.put(task)
        return task.answer

    def _count_answer(self, _: Future[Any]) -> None:
        with self._turn:
            self._unanswered -= 1

    def pids(self) -> list[int]:
        """Process ids of the children that are running."""
        return [keeper.child.pid for keeper in self._keepers if keeper.child is not None]

    def waiting(self) -> int:
        """How many tasks wait for a child."""
        return self._tasks.qsize()

    def close(self) -> None:
        """Stop the children now. Waiting and running tasks are answered with `MediaError(kind="stopped")`."""
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

    This thread itself starts the child: the kernel kills a child when the *thread* that started it ends (PDEATHSIG).
    """

    def __init__(
        self,
        tasks: SimpleQueue[_Task | None],
        timeout: float,
        memory_mb: int,
        closing: threading.Event,
        add_busy: Callable[[float], None],
    ) -> None:
        self.child: _Child | None = None
        self._tasks, self._timeout, self._memory_mb, self._closing = tasks, timeout, memory_mb, closing
        self._add_busy = add_busy
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Kill the child in the middle of its task, and wait for the thread to end."""
        while self._thread.is_alive():
            # In a loop, because the thread may be starting a child at this moment.
            child = self.child
            if child is not None:
                child.kill()
            self._thread.join(0.05)

    def _run(self) -> None:
        # Start the child before there is work, so that the first segment does not wait for the libraries.
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
                # The media is not the cause, but without an answer the segment's stream would wait for ever.
                task.answer.set_exception(MediaError(f"sampling failed: {type(error).__name__}: {error}", kind="failed"))
            else:
                task.answer.set_result(result)
        if self.child is not None:
            self.child.end()

    def _run_task(self, task: _Task) -> Any:
        started = time.monotonic()
        try:
            return self._try_twice(task)
        finally:
            self._add_busy(time.monotonic() - started)

    def _try_twice(self, task: _Task) -> Any:
        try:
            return self._ready_child().run(task.function, task.arguments, self._timeout, self._memory_mb)
        except MediaError as error:
            # The task may be innocent: the OOM killer may pick any child, and a child that was killed while idle looks
            # alive until its last thread has ended. So retry once; if the second child dies too, blame the file.
            if error.kind != "killed" or self._closing.is_set():
                raise
            return self._ready_child().run(task.function, task.arguments, self._timeout, self._memory_mb)

    def _ready_child(self) -> _Child:
        """The child, started and loaded; raises `MediaError` where it cannot start or the pool is closed."""
        if self._closing.is_set():
            raise MediaError("the sampler pool is closed", kind="stopped")
        if self.child is not None and not self.child.usable():
            self.child.end()
            self.child = None
        if self.child is None:
            try:
                self.child = _Child(self._memory_mb)
            except OSError as error:  # no process, descriptor or memory is left
                raise MediaError(f"no sampling process can start: {error}", kind="setup") from error
        self.child.wait_ready()
        return self.child


class _Child:
    """One child process, the pipe to it, and the memory for its answers."""

    def __init__(self, memory_mb: int) -> None:
        # Never fork: the parent has threads (torch, the event loop), and their locks would be copied while they are held.
        self._pipe, child_end = Pipe()
        self._memory = SharedMemory()
        # From here on only the child holds its end of the pipe, so that the child's death closes the pipe.
        with child_end:
            # -P: no module is taken from the working directory.
            files = child_end.fileno(), self._memory.file
            command = [sys.executable, "-P", "-c", _CHILD, *map(str, (*files, memory_mb, os.getpid()))]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=files)
        self.pid = self._process.pid
        with contextlib.suppress(OSError):  # it has died, as `wait_ready` will say
            self._pipe.send([path or os.getcwd() for path in sys.path])
        self._ready = False
        self._killed = False
        self._tasks_left = TASKS_PER_CHILD

    def wait_ready(self) -> None:
        """Wait until the child has loaded everything; raises `MediaError(kind="setup")` where it cannot."""
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
        """The function's result from the child. Raises `MediaError`; after a timeout or a death the child is not usable."""
        self._tasks_left -= 1
        try:
            self._pipe.send((function, arguments))
            if not self._pipe.poll(timeout):
                self.kill()
                raise MediaError(f"sampling took more than {timeout:g} s; send shorter segments", kind="timeout")
            answer = self._memory.unpack(self._pipe.recv())
        except (EOFError, OSError) as error:
            ending = self._ending()
            self.kill()
            raise MediaError(
                f"the sampling process ended with {ending}: the media is damaged, or the machine is out of memory", "killed"
            ) from error
        if isinstance(answer, OverMemory):
            self.kill()  # its heap is fragmented: the next task would find less memory
            raise MediaError(
                f"sampling needs more than the limit of {memory_mb} MiB; send smaller pictures or fewer tracks", kind="memory"
            )
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def usable(self) -> bool:
        return self._tasks_left > 0 and not self._killed and self._process.poll() is None

    def kill(self) -> None:
        # Remembered for `usable`: after the kill the process is still alive for a moment.
        self._killed = True
        self._process.kill()

    def end(self) -> None:
        self.kill()
        self._process.wait()
        self._pipe.close()
        self._memory.close()

    def _ending(self) -> str:
        """How the process ended: a signal's name or an exit code."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "code None"
        return signal.Signals(-code).name if code < 0 else f"code {code}"
