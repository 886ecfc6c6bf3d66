"""What the processes of `run_in_processes` do in tests: a stage of the real loop on a small network, and ways to end early."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from training.adapter.loop import Checkpoint, Curve, Order, Stage, run_stage
from training.recipe import StagePart

CLIPS = 24
PART = StagePart(epochs=2, batch_size=8, learning_rate=0.05, weight_decay=0.01, warmup=0.1)


def train(folder: Path) -> None:
    """A stage that learns sums; goes on from the checkpoint in the folder.

    Leaves `places-RANK.txt` (the clips that a process saw, a line for each step), the curve and the checkpoint.
    """
    accelerator = Accelerator(cpu=True)
    rank = accelerator.process_index
    numbers = torch.randn(CLIPS, 5, generator=torch.Generator().manual_seed(1))
    labels = numbers.sum(dim=1)
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))
    done = Checkpoint.load(folder / "checkpoint.pt", "key")
    if done:
        model.load_state_dict(done.weights)

    def loss_of(model: nn.Module, places: NDArray[np.int64]) -> Tensor:
        with (folder / f"places-{rank}.txt").open("a") as file:
            print(*places, file=file)
        return (model(numbers[places])[:, 0] - labels[places]).abs().mean()

    def keep(step: int, optimizer: dict[str, Any]) -> None:
        (folder / f"kept-by-{rank}").touch()
        Checkpoint(1, step, dict(model.state_dict()), optimizer, "key").save(folder / "checkpoint.pt")

    # 8 clips in a step, 3 at once: a process alone needs three parts, each of two processes needs two.
    run_stage(accelerator, model, Stage(1, PART, Order(CLIPS, 0), 3, 2), loss_of, Curve(folder / "curve.csv"), done, keep)


def killed(folder: Path) -> None:
    """The second process is killed while the first waits for it."""
    if Accelerator(cpu=True).process_index == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    torch.distributed.barrier()


def waiting(folder: Path) -> None:
    """Leaves `pid-RANK.txt`, and does not end by itself."""
    (folder / f"pid-{Accelerator(cpu=True).process_index}.txt").write_text(str(os.getpid()))
    while True:
        signal.pause()


def refused(folder: Path) -> None:
    """The second process raises an error that a user can act on, while the first waits for it."""
    if Accelerator(cpu=True).process_index == 1:
        raise ValueError(f"{folder}: no such clips")
    torch.distributed.barrier()
