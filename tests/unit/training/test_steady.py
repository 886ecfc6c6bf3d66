"""Windows of one clip are to have one score: which windows, the loss on what lies between them, and what training makes of it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scorer.model.modeling import FVQRater
from scorer.model.presets import nano
from scorer.sampling.statistics import names_of
from scorer.spec import SampledClip, SamplerSpec
from tests.support.doubles import make_clip
from tests.support.media import write_frames
from tests.support.processes import ROOT
from tests.unit.training.test_teacher import labels
from training.data import samples as sampling
from training.data.labels import read_labels
from training.data.samples import kept_samples
from training.losses import unsteadiness
from training.nano.start import Start
from training.nano.steady import Steady
from training.nano.train import fitted, scores_by
from training.recipe import load_nano_recipe

RECIPE = load_nano_recipe(ROOT / "training/recipes/nano_more.yaml")
SMALL = replace(RECIPE, contents_per_batch=2, clips_per_content=3)


def test_the_loss_is_the_deviation_within_a_clip() -> None:
    score = torch.tensor([40.0, 60.0, 90.0, 90.0])
    assert float(unsteadiness(score, torch.tensor([0, 0, 1, 1]))) == pytest.approx((10 + 0.1) / 2 / 20, abs=1e-3)
    assert float(unsteadiness(score, torch.tensor([0, 1, 2, 2]))) == pytest.approx(0.1 / 20), "no two windows differ"
    same = torch.full((3,), 50.0, requires_grad=True)
    unsteadiness(same, torch.zeros(3)).backward()
    assert same.grad is not None
    assert torch.equal(same.grad, torch.zeros(3)), "where all is steady nothing is to be learned, and nothing is NaN"


def test_windows_are_of_clips_whose_damage_is_even(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "labels.csv"
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["path", "content", "kind", "step", "mos"])
        for name, seconds, kind in [
            ("long", 4, "x264"),
            ("short", 2.3, "noise"),
            ("frozen", 4, "freeze"),
            ("both", 4, "jitter@dark-2"),
        ]:
            pictures = [rng.integers(0, 255, (48, 64, 3), np.uint8)] * int(seconds * 10)
            write_frames(tmp_path / f"{name}.mkv", pictures, 10.0)
            writer.writerow([f"{name}.mkv", name, kind, 1, 50])
    read = Steady.read(file, RECIPE.spec, 2, tmp_path / "work")
    assert [Path(clip).stem for clip in read.clips] == ["long", "long", "long", "short", "short"]
    places = next(read.batches(0))
    assert sorted(places.tolist()) == [0, 1, 2, 3, 4], "all windows of two clips"

    (tmp_path / "frozen.csv").write_text("path,content,kind,step,mos\nfrozen.mkv,a,x264,1,50\n")
    write_frames(tmp_path / "frozen.mkv", [rng.integers(0, 255, (48, 64, 3), np.uint8)] * 9, 10.0)
    with pytest.raises(ValueError, match=r"frozen\.csv: no clip has two windows: give clips of 4 s"):
        Steady.read(tmp_path / "frozen.csv", RECIPE.spec, 2, tmp_path / "other")


def test_a_trained_model_moves_less_within_clips_of_strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def sampled(
        rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, jobs: int, parts: object = None
    ) -> Iterator[tuple[int, SampledClip]]:
        # Light is what damage changes here, and what changes from window to window by chance.
        rng = np.random.default_rng(1)
        for place, row in enumerate(rows):
            light = 200 - 30 * int(Path(row["path"]).stem.rsplit("-", 1)[1]) + int(rng.integers(-40, 40))
            yield place, make_clip(light, place, spec, len(names_of(spec.statistics_version)))

    monkeypatch.setattr(sampling, "sample_all", sampled)
    file = labels(tmp_path / "train", ["ann", "bob"])
    samples, rows = kept_samples(tmp_path / "kept", read_labels(file), RECIPE.spec, 1), read_labels(file)
    seen, strangers = (
        Steady.read(labels(tmp_path / folder, people), RECIPE.spec, 1, tmp_path / f"{folder}-kept")
        for folder, people in {"long": ["cid", "dot"], "others": ["fay"]}.items()
    )
    torch.manual_seed(0)
    start = Start(FVQRater(nano(statistics=len(names_of(3)))[0]), RECIPE.spec, "begun")
    recipe = replace(SMALL, stage2_steps=20, settling_steps=0, start_share=0.0, learning_rate=5e-3)
    clip = torch.arange(len(strangers.clips)) // 3

    def moves(weight: float) -> float:
        network = fitted(samples, rows, replace(recipe, steady_weight=weight), np.arange(len(samples)), start=start, steady=seen)
        scores = scores_by(network, strangers.samples)
        return float(unsteadiness(torch.tensor(scores), clip))

    keeping = seen.kept_by(start.network, 2)
    for asked, kept, _ in zip(seen.losses(start.network, 3), keeping.losses(start.network, 3), range(3), strict=False):
        assert kept.requires_grad
        assert kept.item() == pytest.approx(asked.item(), rel=1e-3), "what is kept is what the blocks say"
    without, with_it = moves(0.0), moves(20.0)
    assert with_it < 0.7 * without, f"{with_it:.4f} and {without:.4f}"
