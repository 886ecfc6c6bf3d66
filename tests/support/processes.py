"""Real `fvq` processes: one command run to its end, or a worker that can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
FVQ, PYTHON = str(ROOT / ".venv/bin/fvq"), str(ROOT / ".venv/bin/python")
FREE_WORKER = [PYTHON, "-m", "tests.support.free_worker"]


def fvq(*arguments: str, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run one `fvq` command to its end. settings: environment variables, for example FVQ_BROKER="127.0.0.1:9092"."""
    command = with_code([FVQ, *arguments], settings)
    return subprocess.run(command, env=clean_environment() | settings, capture_output=True, text=True, timeout=seconds)


def with_code(command: list[str], settings: Mapping[str, str]) -> list[str]:
    """The command; where the settings name other code (`tests.support.old_version`), without the script `fvq`, which is for this
    version's package."""
    if command[0] != FVQ or "PYTHONPATH" not in settings:
        return command
    return [PYTHON, "-P", "-m", "streams.cli", *command[1:]]


def clean_environment() -> dict[str, str]:
    """The environment without the FVQ_ settings of the caller's shell, and with one thread for each process.

    The tests run several processes on few cores.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FVQ_")}
    return kept | {"OMP_NUM_THREADS": "1"}


@contextlib.contextmanager
def with_two_streams(folder: Path, *command: str, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of `fvq`, whose streams are the files `out` and `err` of the folder, and its data there; killed at the end."""
    own = {"FVQ_DATA_DIR": str(folder / "data")}
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        process = subprocess.Popen(
            [FVQ, *command], env=clean_environment() | own | settings, stdout=out, stderr=err, start_new_session=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)


class Worker:
    """An `fvq worker` that can be killed and started again. All its processes append to one log file.

    core: the processor core on which the worker and its children run; None for all cores. Two workers that both
    use all cores spend most of the time waiting for each other's threads.
    command: runs in place of `fvq worker`.
    directory: in which it runs; None for that of the caller.
    settings: environment variables; the environment's own FVQ_ settings are left out.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        core: int | None = None,
        command: list[str] | None = None,
        directory: Path | None = None,
        **settings: str,
    ) -> None:
        self.name, self.directory = name, directory
        self.command = with_code(command or [FVQ, "worker"], settings)
        cores = sorted(os.sched_getaffinity(0))
        self.cores = set(cores) if core is None else {cores[core % len(cores)]}
        self.log = folder / f"{name}.log"
        ports = {"FVQ_WEB_PORT": "0", "FVQ_INGEST_PORT": "0"}
        self.environment = clean_environment() | {"FVQ_DATA_DIR": str(folder / name)} | ports | settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Worker:
        """Start a process; returns before it is ready."""
        with self.log.open("ab") as log:
            # A process group of its own, so that `kill` also ends the sampling children, as a power cut would.
            self.process = subprocess.Popen(
                self.command, env=self.environment, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        os.sched_setaffinity(self.process.pid, self.cores)  # before the worker imports a library that starts threads
        return self

    @property
    def pid(self) -> int:
        """Process id of the worker's present process, or of its last one."""
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether the worker's process runs now."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Send SIGKILL to the whole process group, if the worker was ever started."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def stop(self, seconds: float = 90) -> None:
        """End the worker with SIGTERM: with exit code 0 or, where other work takes the machine, by its own limit of time.

        A test that is about the stop itself uses `terminate`.
        """
        status = self.terminate(seconds)
        cut_short = status == -signal.SIGALRM or "did not stop within" in self.log.read_text()
        assert status == 0 or cut_short, f"exit status {status}\n{self.tail()}"

    def terminate(self, seconds: float = 90) -> int:
        """Send SIGTERM to the worker alone, as a service manager does. Returns its exit status; raises when it takes longer."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def tail(self, lines: int = 40) -> str:
        """The last lines of the log, below the worker's name."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([f"--- {self.name}:", *text.splitlines()[-lines:]])


@contextlib.contextmanager
def killed_at_the_end(*workers: Worker) -> Iterator[None]:
    """The workers are killed when the context ends. A failure prints the ends of their logs."""
    try:
        yield
    except BaseException:
        for worker in workers:
            print(worker.tail())
        raise
    finally:
        for worker in workers:
            worker.kill()
