"""Trains in several processes of this machine: one for each GPU, or on the CPU.

    fvq train --processes 8 --recipe training/recipes/fvq20k_internvl.yaml --data FVQ-20K --out MODEL

Every process has the whole network and takes its share of each batch; they exchange gradients in each step
(`training.adapter.loop`). Accelerate sees that there are several. The processes find each other by a file, and talk over the
loopback interface: no port of this machine is open to others. When one of them ends with an error, torch ends the others.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch.distributed import destroy_process_group, init_process_group
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, start_processes

from scorer.errors import FvqError
from scorer.process import die_with_parent

WAIT = timedelta(days=2)
"""How long the other processes wait while one samples and encodes; torch's own limit is ten minutes."""

AGAIN = "The same command goes on from the last checkpoint"


class ProcessEndedError(FvqError):
    """One of the processes ended before the training did."""


def run_in_processes(count: int, function: Callable[..., object], *arguments: Any) -> None:
    """Call the function in `count` processes of one torch process group; returns when all have returned.

    function: of a module, called with the arguments in each process; both are pickled. Raises ValueError where there are fewer
    GPUs than processes, `ProcessEndedError` where a process is killed or the function raises an error that a user can act on,
    and torch's `ProcessRaisedException` with the traceback for any other error.
    """
    gpus = torch.cuda.device_count()
    if 0 < gpus < count:
        raise ValueError(f"--processes {count}: this machine has {gpus} GPUs, and each process needs its own")
    with tempfile.TemporaryDirectory(prefix="fvq-processes-") as folder:
        members = start_processes(_member, (count, folder, function, arguments), count, join=False, start_method="spawn")
        assert members is not None
        try:
            while not members.join():
                pass
        except (ProcessExitedException, ProcessRaisedException) as error:
            codes = [process.exitcode for process in members.processes]
            raise _reason(error, codes, Path(folder)) from error
        except KeyboardInterrupt:
            for process in members.processes:  # else Python waits for their end, which is that of the training
                process.kill()
            raise


def _member(rank: int, count: int, folder: str, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    """What each process does: it joins the group and calls the function."""
    # torch asks for SIGINT when the parent ends, which processes of a script's background ignore: they would train on in a folder
    # that the next run takes for free.
    die_with_parent()
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in names.items()})
    if sys.platform == "linux":
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")
    if torch.cuda.is_available():
        torch.cuda.set_device(rank)
    else:
        # Accelerate reads it. More threads than cores would wait for each other in every step.
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    init_process_group(backend, init_method=f"file://{folder}/group", rank=rank, world_size=count, timeout=WAIT)
    try:
        function(*arguments)
    except (FvqError, ValueError, OSError) as error:
        # The parent says it once. Leave without the group's own clean-up, which may wait for the other processes.
        (Path(folder) / f"{rank}.error").write_text(str(error), encoding="utf-8")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    destroy_process_group()


def _reason(error: ProcessExitedException | ProcessRaisedException, codes: list[int | None], folder: Path) -> Exception:
    """What the parent raises. codes: how each process ended; torch ends those that are left by SIGTERM."""
    said = folder / f"{error.error_index}.error"
    if said.exists():
        return ProcessEndedError(said.read_text(encoding="utf-8"))
    killed = [rank for rank, code in enumerate(codes) if code is not None and code < 0 and code != -signal.SIGTERM]
    if killed:
        # Before what the others raise: they only see that a connection broke, and may end before torch looks at them.
        name = signal.Signals(-(codes[killed[0]] or 0)).name
        hint = ", as the kernel does where memory is short" if name == "SIGKILL" else ""
        return ProcessEndedError(f"process {killed[0]} of {len(codes)} was ended by {name}{hint}. {AGAIN}")
    if isinstance(error, ProcessRaisedException):
        return error
    return ProcessEndedError(f"process {error.error_index} of {len(codes)} ended before the training did. {AGAIN}")
