"""A teacher scores the training clips once, and the small model learns a mixture of labels and its scores."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from scorer.errors import ModelError, ScorerError
from scorer.sampling.statistics import names_of
from scorer.spec import LEVELS, ClipScore, ModelId, ModelInput, SampledClip, SamplerSpec
from tests.support.doubles import SPEC, make_clip
from tests.support.media import write_frames
from tests.support.processes import ROOT
from training.data import samples
from training.data.labels import read_labels
from training.nano import teacher as teaching
from training.nano.teacher import Lesson, level_loss, level_targets, teach
from training.nano.train import about, train
from training.recipe import MOST_BLOCKS, NanoRecipe, load_nano_recipe

RECIPE = load_nano_recipe(ROOT / "training/recipes/nano.yaml")
STEPS = 5


class Teacher:
    """Scores a clip by its darkness, opposite to the labels here; counts what it is asked."""

    spec = SPEC
    model = ModelId("large", "7")

    def __init__(self) -> None:
        self.asked = 0

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        self.asked += len(clips)
        return [self._score(100 - 100 * float(clip.clip.mean()) / 255) for clip in clips]

    def _score(self, score: float) -> ClipScore:
        level = min(4, int(score // 20))
        probabilities = {name: 0.8 if place == level else 0.05 for place, name in enumerate(LEVELS)}
        return ClipScore(score, LEVELS[level], probabilities, 5.0, self.model)


def brightness_of(path: Path) -> int:
    """The brightness of a made-up clip: its name ends with its step; the milder, the brighter."""
    return 220 - 40 * int(Path(path).stem.rsplit("-", 1)[1])


def labels(folder: Path, people: Sequence[str]) -> Path:
    """A labels file; of each person a ladder of `STEPS` clips, of which no two are the same file."""
    folder.mkdir()
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "content", "person", "kind", "step", "mos", "source_grade", "relative"])
        for person in people:
            for step in range(STEPS):
                path = folder / f"{person}-{step}.mp4"
                rng = np.random.default_rng([step, *person.encode()])
                write_frames(path, [rng.integers(0, 255, (48, 64, 3), np.uint8)] * 2, 25.0)
                writer.writerow([path.name, person, person, "x264", step + 1, 90 - 18 * step, 97, 90 - 18 * step])
    return folder / "labels.csv"


def made_up(
    rows: Sequence[Mapping[str, Any]], spec: SamplerSpec, jobs: int, parts: object = None
) -> Iterator[tuple[int, SampledClip]]:
    """In place of `sample_all`."""
    for place, row in enumerate(rows):
        yield place, make_clip(brightness_of(row["path"]), place, spec, len(names_of(spec.statistics_version)))


@pytest.fixture(autouse=True)
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teaching, "sample_all", made_up)
    monkeypatch.setattr(samples, "sample_all", made_up)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the labels of `train`, of `dev`, and clips without labels in `more`."""
    folder = tmp_path_factory.mktemp("data")
    labels(folder / "train", ["ann", "bob", "cid", "dot"])
    labels(folder / "dev", ["eve", "fay"])
    (folder / "more").mkdir()
    labels(folder / "more" / "stream", ["gus"])
    labels(folder / "others", ["hal"])
    shutil.copy(folder / "others" / "hal-1.mp4", folder / "more" / "hal-1.mp4")
    shutil.copy(folder / "dev" / "eve-0.mp4", folder / "more" / "stream" / "copy-0.mp4")
    shutil.copy(folder / "train" / "ann-0.mp4", folder / "more" / "copy-0.mp4")
    return folder


def taught(teacher: Teacher, data: Path, work: Path, unlabelled: bool = False, weight: float = 0.25) -> teaching.Taught:
    work.mkdir(exist_ok=True)
    rows, dev_rows = read_labels(data / "train/labels.csv"), read_labels(data / "dev/labels.csv")
    lesson = Lesson(teacher, data / "more" if unlabelled else None)
    return teach(lesson, rows, dev_rows, replace(RECIPE, teacher_weight=weight), work, 1)


def test_targets_and_levels_are_mixed_by_the_recipes_weight(data: Path, tmp_path: Path) -> None:
    rows = taught(Teacher(), data, tmp_path).rows
    for row in rows:
        score = 100 - 100 * make_clip(brightness_of(row["path"])).clip.mean() / 255
        assert row["target"] == pytest.approx(0.75 * row["mos"] + 0.25 * score, abs=0.5)
        assert sum(row["levels"]) == pytest.approx(1)
    # The best clip: its label says excellent; its teacher says bad.
    best = max(rows, key=lambda row: row["mos"])
    assert best["levels"] == pytest.approx([0.25 * 0.8, *[0.25 * 0.05] * 3, 0.75 + 0.25 * 0.05])
    targets = level_targets(rows)
    assert targets is not None
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(len(rows)))
    certain = torch.full((1, 5), -20.0).index_fill(1, torch.tensor([2]), 20.0)
    assert level_loss(certain, torch.eye(5)[2:3]) < level_loss(certain, targets[:1])
    assert level_targets(read_labels(data / "train/labels.csv")) is None


def test_clips_without_labels_have_the_teachers_score_and_none_is_of_the_people_who_judge(data: Path, tmp_path: Path) -> None:
    lesson = taught(Teacher(), data, tmp_path, unlabelled=True)
    extra = [row for row in lesson.rows if row["kind"] == "unlabelled"]
    found = {row["path"].name: row["content"] for row in extra}
    assert found == {f"gus-{step}.mp4": "unlabelled/stream" for step in range(STEPS)} | {"hal-1.mp4": "unlabelled/00000"}
    assert all(row["content"] == row["person"] and not row["absolute"] for row in extra)
    assert all(row["target"] == row["mos"] > 0 for row in extra)
    assert lesson.figures["clips"] == 20
    assert lesson.figures["unlabelled"] == STEPS + 1
    assert lesson.figures["srcc_with_labels"] < -0.9
    assert len(lesson.parts) == len(lesson.rows)
    assert lesson.folder != taught(Teacher(), data, tmp_path).folder == tmp_path / "train"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: no clips without labels in it: there is no video"):
        teach(Lesson(Teacher(), tmp_path / "empty"), lesson.rows[:1], [], RECIPE, tmp_path, 1)


def test_each_clip_is_scored_once_also_after_a_kill_and_in_another_folder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(rows: Any, spec: Any, jobs: int, parts: object = None) -> Iterator[tuple[int, SampledClip]]:
        for place, clip in made_up(rows, spec, jobs):
            if place == 11:
                raise KeyboardInterrupt
            yield place, clip

    first = Teacher()
    with monkeypatch.context() as patch:
        patch.setattr(teaching, "sample_all", cut_off)
        with pytest.raises(KeyboardInterrupt):
            taught(first, data, tmp_path)
    (kept,) = tmp_path.glob("teacher-*.jsonl")
    # The kill came while a line was written.
    kept.write_text(kept.read_text() + '{"clip": "12-ab')
    second = Teacher()
    rows = taught(second, data, tmp_path).rows
    assert (first.asked, second.asked) == (8, 12)
    assert all("target" in row for row in rows)

    moved = tmp_path / "moved"
    shutil.copytree(data, moved)
    third = Teacher()
    assert [row["target"] for row in taught(third, moved, tmp_path).rows] == [row["target"] for row in rows]
    assert third.asked == 0
    other = Teacher()
    other.model = ModelId("large", "8")
    taught(other, data, tmp_path)
    assert other.asked == 20, "another version has answers of its own"


def test_a_served_teacher_that_is_busy_is_waited_for(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    class Served(Teacher):
        def __init__(self, away: float) -> None:
            super().__init__()
            self.away = away

        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            if self.asked >= 8 and now < self.away:
                raise ScorerError("http://gpu-1:8070 asks to wait: it answered 503", retry_after=7.0)
            return super().score(clips)

    monkeypatch.setattr(teaching, "time", SimpleNamespace(monotonic=lambda: now, sleep=sleep))
    assert all("target" in row for row in taught(Served(away=60.0), data, tmp_path / "busy").rows)
    assert now >= 60
    with pytest.raises(ScorerError, match="gpu-1:8070 asks to wait"):
        taught(Served(away=1e9), data, tmp_path / "gone")
    assert now < 60 + 7 + 2 * teaching.AWAY_SECONDS


def test_a_wrong_line_is_named_and_a_teacher_that_changes_is_refused(data: Path, tmp_path: Path) -> None:
    taught(Teacher(), data, tmp_path)
    (kept,) = tmp_path.glob("teacher-*.jsonl")
    lines = kept.read_text().splitlines()
    wrong = json.loads(lines[4]) | {"score": 130}
    kept.write_text("\n".join([*lines[:4], json.dumps(wrong), *lines[5:]]) + "\n")
    with pytest.raises(ValueError, match=r"jsonl, line 5: .*remove the line"):
        taught(Teacher(), data, tmp_path)

    class Changing(Teacher):
        def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
            return [replace(score, model=ModelId("large", "9")) for score in super().score(clips)]

    kept.unlink()
    with pytest.raises(ModelError, match="large@9 answers now"):
        taught(Changing(), data, tmp_path)


def test_a_weight_outside_of_its_range_is_refused(tmp_path: Path) -> None:
    text = (ROOT / "training/recipes/nano.yaml").read_text()
    (tmp_path / "recipe.yaml").write_text(f"{text}\nteacher_weight: 1.5\n")
    with pytest.raises(ValueError, match=r"recipe\.yaml: teacher_weight: must be .*, not 1\.5"):
        load_nano_recipe(tmp_path / "recipe.yaml")


@pytest.mark.slow
@pytest.mark.timeout(600)  # 20 s of CPU, of which a machine that does other work gives little
def test_the_small_model_follows_a_teacher_whose_weight_is_one(data: Path, tmp_path: Path) -> None:
    quick: dict[str, Any] = {"stage1_steps": 10, "stage2_steps": 25, "learning_rate": 3e-3, "image_noise": 0.1}
    dropout = {"statistics_noise": 0.1, "stream_dropout": 0.0, "image_dropout": 0.0}
    # An encoder that stays as it is makes a step several times cheaper.
    small = {"contents_per_batch": 2, "clips_per_content": 5, "sampler": "leaner", "frozen_blocks": MOST_BLOCKS}
    recipe: NanoRecipe = replace(RECIPE, **quick, **dropout, **small, teacher_weight=1.0)
    files = data / "train/labels.csv", data / "dev/labels.csv"
    metrics = train(recipe, *files, tmp_path / "taught", Lesson(Teacher(), data / "more"))
    # The teacher's order is opposite to that of the labels, so what follows it disagrees with them.
    assert metrics["srcc_within"] < -0.8
    assert metrics["teacher"] == {
        "model": "large@7",
        "weight": 1.0,
        "clips": 20,
        "unlabelled": STEPS + 1,
        "srcc_with_labels": pytest.approx(-1, abs=0.1),
    }
    card = (tmp_path / "taught/README.md").read_text()
    assert "Taught by large@7" in card
    assert "20 segments" in card


def test_a_run_is_for_these_samples_and_lessons_alone(data: Path) -> None:
    recipe, rows = load_nano_recipe(ROOT / "training/recipes/nano.yaml"), read_labels(data / "train/labels.csv")
    all_rows = samples.Samples({}, np.arange(len(rows)))
    taught_rows = [row | {"target": row["mos"] / 2} for row in rows]
    fewer = samples.Samples({}, np.arange(len(rows) - 1))
    names = [about(recipe, rows, all_rows), about(recipe, taught_rows, all_rows), about(recipe, rows, fewer)]
    for change in ({"content": "another"}, {"absolute": not rows[0]["absolute"]}):  # they decide what is compared
        names.append(about(recipe, [row | change for row in rows], all_rows))
    assert len(set(names)) == 5
    assert names[0] == about(recipe, read_labels(data / "train/labels.csv"), all_rows)
