"""Several processes train one adapter: the same weights as one process, a share of the clips each, one that writes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import together
from training.adapter.loop import Checkpoint, Curve
from training.adapter.processes import ProcessEndedError, run_in_processes

pytestmark = pytest.mark.slow


def weights(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = Checkpoint.load(folder / "checkpoint.pt", "key")
    assert checkpoint is not None
    assert checkpoint.step == 6
    return checkpoint.weights


def places(folder: Path, rank: int) -> list[list[int]]:
    return [[int(place) for place in line.split()] for line in (folder / f"places-{rank}.txt").read_text().splitlines()]


def losses(folder: Path) -> list[float]:
    with (folder / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(1, 7)), "one process alone writes the curve"
    return [float(row["loss"]) for row in rows]


def test_two_processes_go_on_from_a_checkpoint_of_one_to_the_weights_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, together_ = tmp_path / "alone", tmp_path / "together"
    for folder in (alone, together_):
        folder.mkdir()
        Curve(folder / "curve.csv").cut(0, 0)
    together.train(alone)

    saved = Checkpoint.save

    def save(self: Checkpoint, path: Path) -> None:
        saved(self, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "save", save)
        with pytest.raises(KeyboardInterrupt):
            together.train(together_)
    seen_before = len(places(together_, 0))
    run_in_processes(2, together.train, together_)

    for name, tensor in weights(alone).items():
        torch.testing.assert_close(weights(together_)[name], tensor, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses(together_), losses(alone), rtol=1e-4)
    first, second = places(together_, 0)[seen_before:], places(together_, 1)
    assert len(first) == len(second) == 4 * 2, "four steps were left, of two parts each"
    for step in range(4):
        shares = [[*seen[2 * step], *seen[2 * step + 1]] for seen in (first, second)]
        assert [len(share) for share in shares] == [4, 4]
        assert set(shares[0]).isdisjoint(shares[1])
    assert not (together_ / "kept-by-1").exists()


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (together.killed, r"process 1 of 2 was ended by SIGKILL.*goes on from the last checkpoint"),
        (together.refused, r"^\S+: no such clips$"),
    ],
)
def test_one_process_that_ends_early_ends_the_run_with_its_reason(
    function: Callable[[Path], None], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ProcessEndedError, match=reason):
        run_in_processes(2, function, tmp_path)


def test_each_process_needs_a_gpu_of_its_own_where_there_are_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="--processes 2: this machine has 1 GPU"):
        run_in_processes(2, together.train, tmp_path)
