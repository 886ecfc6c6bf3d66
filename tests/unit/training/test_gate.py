"""The gate: which models it promotes, and which it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.errors import ModelError
from scorer.spec import ClipScore, ModelId, SampledClip, SamplerSpec
from tests.support.doubles import SPEC, BrightnessScorer, make_clip
from tests.support.media import write_frames
from training.data.rated import read_rated
from training.data.trained import note_trained_on
from training.evaluation import gate
from training.evaluation.gate import gate_of, judge, recipe_seed
from training.recipe import GatePart

LIGHTS = [40, 70, 100, 130, 160, 190]


class Rater(BrightnessScorer):
    """Scores a clip by its brightness plus `bias` points; a confused one gives 5 points to every bright clip."""

    def __init__(self, version: str, bias: float, confused: bool = False, spec: SamplerSpec = SPEC) -> None:
        super().__init__()
        self.model, self.bias, self.confused, self.spec = ModelId("rater", version), bias, confused, spec

    def score(self, clips: Sequence[SampledClip]) -> list[ClipScore]:
        values = [float(clip.frames.mean() / 255 * 100) for clip in clips]
        if self.confused:
            values = [5.0 if value > 60 else value for value in values]
        return [self._score_of(min(100.0, max(0.0, value + self.bias))) for value in values]


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(reference, rated): on the reference set the label is the brightness, on the newly rated clips it is 10 points more."""

    def sample_by_name(rows: Sequence[Mapping[str, Any]], *_: object) -> Iterator[tuple[int, SampledClip]]:
        yield from ((place, make_clip(int(row["path"].stem))) for place, row in enumerate(rows))

    monkeypatch.setattr(gate, "sample_all", sample_by_name)
    tables = []
    for name, more in (("reference", 0.0), ("rated", 10.0)):
        folder = tmp_path / name
        folder.mkdir()
        lines = ["path,mos,content,split"]
        for light in LIGHTS:
            write_frames(folder / f"{light}.mp4", [np.full((48, 64, 3), light, np.uint8)] * 3, 25.0)
            lines.append(f"{light}.mp4,{light / 2.55 + more:.2f},c{light},test")
        (folder / "rated.csv").write_text("\n".join(lines) + "\n")
        tables.append(folder / "rated.csv")
    return tables[0], tables[1]


@pytest.mark.parametrize(
    ("candidate", "refused"),
    [
        (Rater("better", 5.0), {("reference", "mae")}),
        (Rater("a little better", 0.8), set()),
        (Rater("the same", 0.0), {("newly rated", "mae")}),
        (
            Rater("confused", 0.8, confused=True),
            {("reference", "srcc"), ("reference", "mae"), ("newly rated", "mae"), ("newly rated", "srcc")},
        ),
    ],
    ids=lambda value: value.model.version if isinstance(value, Rater) else "",
)
def test_a_candidate_must_be_better_on_the_new_and_not_worse_on_the_old(
    sets: tuple[Path, Path], candidate: Rater, refused: set[tuple[str, str]]
) -> None:
    verdict = judge(Rater("old", 0.0), candidate, *sets, GatePart(), seed=0)  # type: ignore[arg-type]
    assert {(check.clips, check.figure) for check in verdict.checks if not check.passed} == refused
    assert verdict.passed == (not refused)
    assert verdict.as_dict()["candidate"] == f"rater@{candidate.model.version}"
    json.dumps(verdict.as_dict())


def test_the_limits_come_from_the_gate(sets: tuple[Path, Path]) -> None:
    gate = GatePart(reference_mae_rise=6.0, rated_mae_gain=4.0)
    assert judge(Rater("old", 0.0), Rater("new", 5.0), *sets, gate, seed=0).passed  # type: ignore[arg-type]


def test_ratings_on_another_scale_are_judged_as_points(sets: tuple[Path, Path]) -> None:
    candidate = Rater("a little better", 0.8)
    in_points = judge(Rater("old", 0.0), candidate, *sets, GatePart(), seed=0)  # type: ignore[arg-type]
    header, *rows = (row.split(",") for row in sets[1].read_text().splitlines())
    fifths = [[path, f"{1 + float(mos) / 25:.6f}", *others] for path, mos, *others in rows]
    sets[1].write_text("\n".join(",".join(row) for row in [header, *fifths]) + "\n")
    with pytest.raises(ValueError, match="look like a scale of 1-5"):
        judge(Rater("old", 0.0), candidate, *sets, GatePart(), seed=0)  # type: ignore[arg-type]
    on_scale = judge(Rater("old", 0.0), candidate, *sets, GatePart(), seed=0, scale="1-5")  # type: ignore[arg-type]
    assert [check.passed for check in on_scale.checks] == [check.passed for check in in_points.checks]


def test_another_sampling_and_too_few_clips_are_refused_with_the_reason(sets: tuple[Path, Path]) -> None:
    with pytest.raises(ModelError, match="another sampling"):
        judge(Rater("old", 0.0), Rater("new", 0.0, spec=SamplerSpec()), *sets, GatePart(), seed=0)  # type: ignore[arg-type]
    rated = sets[1]
    rated.write_text("\n".join(rated.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(ValueError, match="at least 5"):
        judge(Rater("old", 0.0), Rater("new", 0.0), *sets, GatePart(), seed=0)  # type: ignore[arg-type]


def test_what_is_wrong_with_the_clips_is_told_before_any_is_scored(
    sets: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gate, "_figures", lambda *_: pytest.fail("they are scored"))
    reference, rated = sets
    (reference.parent / "40.mp4").unlink()
    rated.write_text("\n".join(rated.read_text().splitlines()[:4]) + "\n")
    with pytest.raises(ValueError, match=rf"{rated}: 3 clips to judge by of contents that .*; at least 5 are needed"):
        judge(Rater("old", 0.0), Rater("new", 0.0), *sets, GatePart(), seed=0)  # type: ignore[arg-type]
    said = capsys.readouterr().err
    assert f"{reference}: 5 clips of 5 contents" in said
    assert "dropped 1: the file is missing" in said
    assert str(rated) not in said, "nothing of it was dropped"


def test_what_the_candidate_was_trained_on_does_not_judge_it(sets: tuple[Path, Path], tmp_path: Path) -> None:
    """As after clips of the split were deleted: another content takes their place."""
    _, rated = sets
    (tmp_path / "work").mkdir()
    clips = read_rated(rated).clips
    note_trained_on(tmp_path, clips[:-5])
    by_rest = judge(Rater("old", 0.0), Rater("new", 5.0), *sets, GatePart(), 0, None, tmp_path)  # type: ignore[arg-type]
    rated.write_text("\n".join([rated.read_text().splitlines()[0], *rated.read_text().splitlines()[-5:]]) + "\n")
    assert by_rest == judge(Rater("old", 0.0), Rater("new", 5.0), *sets, GatePart(), seed=0)  # type: ignore[arg-type]
    note_trained_on(tmp_path, clips[:-4])
    with pytest.raises(ValueError, match="at least 5"):
        judge(Rater("old", 0.0), Rater("new", 5.0), *sets, GatePart(), 0, None, tmp_path)  # type: ignore[arg-type]


def test_the_gate_comes_from_the_recipe_that_made_the_model_or_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"recipe": {"seed": 3, "gate": {"rated_mae_gain": 2.5}}}))
    assert gate_of(tmp_path).rated_mae_gain == 2.5
    assert recipe_seed(tmp_path) == 3
    file = tmp_path / "gate.yaml"
    file.write_text("reference_mae_rise: 4\n")
    assert gate_of(tmp_path, file).reference_mae_rise == 4
    file.write_text("gate:\n  reference_mea_rise: 4\n")
    with pytest.raises(ValueError, match=r"gate\.yaml: gate: reference_mea_rise"):
        gate_of(tmp_path, file)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"metrics\.json"):
        gate_of(tmp_path)
