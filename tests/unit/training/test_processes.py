"""Several processes train one adapter: the same weights as one process, a share of the clips each, one that writes."""

from __future__ import annotations

import csv
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.support import together
from tests.support.processes import PYTHON, ROOT
from tests.support.waiting import wait_for
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


@pytest.mark.timeout(600)  # torch is loaded three times, of which a machine that does other work makes minutes
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
def test_none_trains_on_when_the_command_has_ended(sent: signal.Signals, tmp_path: Path) -> None:
    """As in a script's background, where processes ignore SIGINT; those of the same folder would mix with the next run."""
    call = "run_in_processes(2, together.waiting, Path(sys.argv[1]))"
    modules = "import sys; from pathlib import Path; from tests.support import together"
    program = f"{modules}; from training.adapter.processes import run_in_processes; {call}"
    ignores = partial(signal.signal, signal.SIGINT, signal.SIG_IGN) if sent != signal.SIGINT else None
    parent = subprocess.Popen([PYTHON, "-c", program, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL, preexec_fn=ignores)
    files = [tmp_path / f"pid-{rank}.txt" for rank in range(2)]
    try:
        wait_for("both processes", lambda: all(file.exists() and file.read_text() for file in files), 240)
        parent.send_signal(sent)
        assert parent.wait(60) != 0
    finally:
        parent.kill()
        parent.wait()
    for file in files:
        wait_for("the end of a process", partial(has_ended, int(file.read_text())), 60)


def has_ended(pid: int) -> bool:
    """Whether there is no such process; one that nobody has asked for its end is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_each_process_needs_a_gpu_of_its_own_where_there_are_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="--processes 2: this machine has 1 GPU"):
        run_in_processes(2, together.train, tmp_path)
