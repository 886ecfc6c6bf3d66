"""Real `fvq` processes: one command run to its end, or a worker that can be killed and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FVQ, PYTHON = str(ROOT / ".venv/bin/fvq"), str(ROOT / ".venv/bin/python")
FREE_WORKER = [PYTHON, "-m", "tests.support.free_worker"]


def fvq(*arguments: str, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
    """One `fvq` command, run to its end. settings: FVQ_ settings by their names, e.g. FVQ_BROKER=..."""
    return subprocess.run([FVQ, *arguments], env=clean_environment() | settings, capture_output=True, text=True, timeout=seconds)


def clean_environment() -> dict[str, str]:
    """The environment without anybody's settings, one thread for each process: the tests run several on few cores."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FVQ_")}
    return ours | {"OMP_NUM_THREADS": "1"}


class Worker:
    """An `fvq worker` that can be killed and started again; its log is one file over all its lives.

    core: which of the processor cores is the worker's, and its children's; None for all. Two workers that both
    take all cores spend most of the time waiting for each other's threads.
    command: what is run instead of `fvq worker`.
    """

    def __init__(
        self, name: str, folder: Path, core: int | None = None, command: list[str] | None = None, **settings: str
    ) -> None:
        self.name = name
        self.command = command or [FVQ, "worker"]
        cores = sorted(os.sched_getaffinity(0))
        self.cores = set(cores) if core is None else {cores[core % len(cores)]}
        self.log = folder / f"{name}.log"
        self.environment = clean_environment() | {"FVQ_DATA_DIR": str(folder / name), "FVQ_WEB_PORT": "0"} | settings
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Worker:
        with self.log.open("ab") as log:
            # An own group, so that `kill` reaches the sampling children too, as a power cut does.
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        os.sched_setaffinity(self.process.pid, self.cores)  # long before the worker has imported anything with threads
        return self

    @property
    def pid(self) -> int:
        """Of the life that it has now, or had last."""
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill -9 of the whole process group."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def terminate(self, seconds: float = 30) -> int:
        """SIGTERM to the worker alone, as a service manager does; its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def tail(self, lines: int = 40) -> str:
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join([f"--- {self.name}:", *text.splitlines()[-lines:]])
