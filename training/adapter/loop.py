"""The training loop of one stage: order of the clips, learning rate, curve, checkpoints, steps.

Besides weights and optimizer, everything that a step depends on is a function of its number: which clips it sees, its
learning rate, its random numbers. So a killed run that goes on from its checkpoint ends with the same weights as one that
was never killed.
"""

from __future__ import annotations

import csv
import io
import math
import os
import pickle
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from scorer.storage import write_whole
from training.data.progress import Progress
from training.recipe import StagePart

CLIP_NORM = 1.0
"""Largest norm of a step's gradient, as in InternVL's training."""

CURVE_FIELDS = ("stage", "step", "learning_rate", "loss")


@dataclass(frozen=True)
class Order:
    """The order in which a stage sees its clips: an endless row of shuffles.

    Each shuffle has every training clip once, and as many replayed clips as `share` asks for, drawn again for each shuffle.
    """

    count: int
    """Number of training clips, without the replayed ones; their places are 0 to count - 1."""
    seed: int
    replay: int = 0
    """Number of replayed clips; their places come after those of the training clips."""
    share: float = 0.0
    """Share of the replayed clips in a shuffle, 0 to below 1."""

    @property
    def length(self) -> int:
        """Clips in a shuffle."""
        return self.count + (round(self.count * self.share / (1 - self.share)) if self.replay else 0)

    def places(self, first: int, count: int) -> NDArray[np.int64]:
        """The places of `count` clips of the order, from its `first` (0 upwards) on."""
        numbers = np.arange(first, first + count)
        shuffles = {epoch: self._shuffle(epoch) for epoch in np.unique(numbers // self.length)}
        return np.array([shuffles[number // self.length][number % self.length] for number in numbers], np.int64)

    def _shuffle(self, epoch: int) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, epoch])
        if not self.replay:
            return rng.permutation(self.count)
        # Where there are fewer replayed clips than the share asks for, each comes more than once.
        replayed = self.count + np.resize(rng.permutation(self.replay), self.length - self.count)
        return rng.permutation(np.concatenate([np.arange(self.count), replayed]))


def learning_rate(stage: StagePart, step: int, total: int) -> float:
    """The learning rate of a step (0 to total - 1): linear warm-up, then a cosine towards zero."""
    warm = round(stage.warmup * total)
    if step < warm:
        return stage.learning_rate * (step + 1) / warm
    return stage.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def steps_of(stage: StagePart, clips: int) -> int:
    """Number of steps in a stage, at least one. clips: in an epoch."""
    return max(1, math.ceil(stage.epochs * clips / stage.batch_size))


class Curve:
    """The loss of every step, in a CSV; a run that goes on after a kill appends to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def cut(self, stage: int, step: int) -> None:
        """Remove the rows after a checkpoint's stage and step; creates the file where there is none."""
        rows: list[list[str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                rows = [row for row in list(csv.reader(file))[1:] if (int(row[0]), int(row[1])) <= (stage, step)]
        text = io.StringIO(newline="")
        csv.writer(text).writerows([CURVE_FIELDS, *rows])
        write_whole(self.path, (text.getvalue().encode(),))  # a kill meanwhile does not lose the steps before

    def add(self, stage: int, step: int, rate: float, loss: float) -> None:
        """Append a row. step: counted from 1."""
        with self.path.open("a", newline="") as file:
            csv.writer(file).writerow([stage, step, f"{rate:.4g}", f"{loss:.6g}"])

    def plot(self, picture: Path) -> None:
        """Draw both stages: the loss of each step, and its running mean over a twentieth of the stage."""
        with self.path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        figure = Figure(figsize=(10, 4), layout="constrained")
        labels = ("text loss", "L1 in levels, plus the weighted losses of text and uncertainty")
        for axes, stage, label in zip(figure.subplots(1, 2), "12", labels, strict=True):
            loss = np.array([float(row["loss"]) for row in rows if row["stage"] == stage])
            axes.plot(np.arange(1, len(loss) + 1), loss, color="#1f3a5f", alpha=0.3, linewidth=0.8)
            width = max(1, len(loss) // 20)
            smooth = np.convolve(loss, np.ones(width) / width, mode="valid") if len(loss) else loss
            axes.plot(np.arange(width, width + len(smooth)), smooth, color="#1f3a5f")
            axes.set(title=f"stage {'I' * int(stage)}", xlabel="step", ylabel=label)
        figure.savefig(picture, dpi=110)


@dataclass
class Checkpoint:
    """What a killed run needs to go on."""

    stage: int
    """1 or 2."""
    step: int
    """Steps of the stage that are done."""
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    key: str
    """Hash of recipe, data and base; a checkpoint with another key is refused."""

    def save(self, path: Path) -> None:
        """Replace the file in one step, so that a kill during the writing leaves the checkpoint before."""
        # On a full disk torch itself says "unexpected pos" and names neither the disk nor the file.
        content = io.BytesIO()
        torch.save(vars(self), content)
        part = path.with_suffix(".part")
        part.write_bytes(content.getbuffer())
        os.replace(part, path)

    @classmethod
    def load(cls, path: Path, key: str) -> Checkpoint | None:
        """The checkpoint, None where there is none; raises ValueError where it is damaged, or has another key."""
        if not path.exists():
            return None
        try:
            checkpoint = cls(**torch.load(path, map_location="cpu", weights_only=True))
        except (EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
            # As after a power failure.
            raise ValueError(f"{path}: it is damaged: remove it, and the training begins at its first step again") from error
        if checkpoint.key != key:
            raise ValueError(f"{path} is of another recipe, other data or another base: choose another --out, or remove it")
        return checkpoint


@dataclass
class Stage:
    """One stage of a run."""

    number: int
    """1 or 2."""
    part: StagePart
    """Its part of the recipe."""
    order: Order
    """The order of its clips."""
    clips_per_device: int
    """Clips that go through a device at once."""
    checkpoint_steps: int
    """Steps between checkpoints."""

    @property
    def total(self) -> int:
        """Number of its steps."""
        return steps_of(self.part, self.order.length)


def run_stage(
    accelerator: Accelerator,
    model: nn.Module,
    stage: Stage,
    loss_of: Callable[[nn.Module, NDArray[np.int64]], Tensor],
    curve: Curve,
    done: Checkpoint | None,
    keep: Callable[[int, dict[str, Any]], None],
) -> None:
    """Train those parameters of `model` that require gradients, in place.

    loss_of: (model, places of clips) -> their mean loss. done: the checkpoint of this stage to go on from, or None. keep:
    called with (steps done, state of the optimizer) every `checkpoint_steps` and at the end, only in the main process. The
    batch has to be divisible by the number of processes: each takes as many of its clips.
    """
    processes, rank = accelerator.num_processes, accelerator.process_index
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=stage.part.learning_rate, weight_decay=stage.part.weight_decay)
    first = done.step if done else 0
    if done:
        optimizer.load_state_dict(done.optimizer)
    parallel = _parallel(accelerator, model)
    shows, name = accelerator.is_main_process, f"stage {'I' * stage.number}, steps"
    steps = Progress(range(first, stage.total), name, done=first, shows=shows)
    for step in steps:
        rate = learning_rate(stage.part, step, stage.total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        places = stage.order.places(step * stage.part.batch_size, stage.part.batch_size)[rank::processes]
        # Dropout's random numbers depend on step and process only, so that they are the same after a kill.
        torch.manual_seed(int(np.random.SeedSequence([stage.order.seed, stage.number, step, rank]).generate_state(1)[0]))
        loss = _backward(accelerator, parallel, places, stage.clips_per_device, loss_of)
        nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        mean = float(accelerator.reduce(loss, reduction="mean"))
        steps.note = f"loss {mean:.3g}"
        if accelerator.is_main_process:
            curve.add(stage.number, step + 1, rate, mean)
            if (step + 1) % stage.checkpoint_steps == 0 or step + 1 == stage.total:
                keep(step + 1, optimizer.state_dict())


def _parallel(accelerator: Accelerator, model: nn.Module) -> nn.Module:
    """The model, wrapped so that the processes exchange the gradients of the parameters that this stage trains.

    Accelerate's `prepare` is not used: it changes the model's forward, and does not change it back for the next stage.
    """
    if not accelerator.use_distributed:
        return model
    devices = [accelerator.local_process_index] if accelerator.device.type == "cuda" else None
    # Every projector has a token for absent images, also where a stream is never absent: that token then gets no gradient.
    return DistributedDataParallel(model, device_ids=devices, find_unused_parameters=True)


def _backward(
    accelerator: Accelerator,
    model: nn.Module,
    places: NDArray[np.int64],
    at_once: int,
    loss_of: Callable[[nn.Module, NDArray[np.int64]], Tensor],
) -> Tensor:
    """Add up the gradients of the mean loss over the places, `at_once` clips at a time; returns that loss, detached."""
    parts: Sequence[NDArray[np.int64]] = np.array_split(places, math.ceil(len(places) / at_once))
    total = torch.zeros((), device=accelerator.device)
    for number, part in enumerate(parts, start=1):
        # The processes exchange gradients once in a step, with its last part.
        with nullcontext() if number == len(parts) else accelerator.no_sync(model):
            with accelerator.autocast():
                loss = loss_of(model, part) * (len(part) / len(places))
            accelerator.backward(loss)
        total += loss.detach()
    return total
