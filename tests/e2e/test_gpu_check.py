"""`scripts/gpu-check` with scaled-down classes: every step runs on a CPU as on a GPU."""

from __future__ import annotations

import subprocess

import pytest
import torch
from transformers import InternVLForConditionalGeneration

from tests.bench.large_bases import LANGUAGE_MODELS, internvl_config
from tests.support.processes import ROOT, clean_environment


def gpu_check(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/gpu-check"), *arguments]
    return subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=400, check=False)


def test_it_trains_merges_scores_and_prints_a_table() -> None:
    done = gpu_check("--tiny")
    assert done.returncode == 0, done.stderr
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ") and line != "| | |"]
    table = dict(lines)
    assert float(table["batch of 8"].removesuffix(" clips/s")) > 0
    assert float(table["in a batch against alone, at most"].removesuffix(" points")) <= (0.05 if torch.cuda.is_available() else 0)
    assert float(table["against float32"].split()[0]) < 3
    assert float(table["served, against here"].split()[0]) <= 0.05
    assert float(table["served, batch of 8"].removesuffix(" clips/s")) > 0
    assert len(set(table["scores of clips from best to worst"].split(", "))) > 2
    assert {"device", "memory at most", "load, merge, test clip"} <= set(table)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = gpu_check()
    assert done.returncode == 1
    assert "--tiny" in done.stderr


@pytest.mark.parametrize(("size", "billions"), [("2b", 1.86), ("8b", 7.94)])
def test_random_bases_have_as_many_weights_as_the_published_ones(size: str, billions: float) -> None:
    assert size in LANGUAGE_MODELS
    with torch.device("meta"):
        network = InternVLForConditionalGeneration(internvl_config(size))
    assert sum(weight.numel() for weight in network.parameters()) == pytest.approx(billions * 1e9, rel=0.01)
