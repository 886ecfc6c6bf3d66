"""A teacher: a larger model scores the training clips once, and the small model learns a mixture of labels and its scores.

    fvq train --recipe training/recipes/nano.yaml --teacher MODEL --data TRAIN/labels.csv --dev DEV/labels.csv --out OUT

The teacher is anything that scores: a whole model, an adapter on a large base, or a served scorer. It sees each clip by its own
sampler, and the same part of the clip as the small model. Its answers are kept in `OUT/work`, by the clip's content: a run that
was killed asks for the rest only, and the file may be copied to another folder. Clips without labels may be added: the teacher's
score is then their label.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from scorer.errors import ModelError, ScorerError
from scorer.spec import LEVELS, ClipScore, SampledClip, Scorer, level_of
from training.data.digests import clip_digest
from training.data.rated import VIDEO_ENDINGS
from training.data.remarks import remark
from training.data.samples import Part, in_batches, parts_of, sample_all
from training.evaluation.agreement import srcc
from training.recipe import NanoRecipe

Row = dict[str, Any]

UNLABELLED = "unlabelled"
"""Kind of the clips whose only label is the teacher's score."""

GROUP = 24
"""Unlabelled clips that count as one content where no folder says which belong together."""


AWAY_SECONDS = 900.0
"""How long a served teacher may be away before the run ends: a scorer with a large model takes minutes to start."""


@dataclass(frozen=True)
class Answer:
    """What the teacher says of a clip. score: 0-100. levels: a probability for each of `LEVELS`, worst first."""

    score: float
    levels: list[float]


@dataclass(frozen=True)
class Lesson:
    """Who teaches, and what is added to the labelled clips."""

    teacher: Scorer
    unlabelled: Path | None = None
    """A folder of clips without labels, see `unlabelled_rows`."""


@dataclass(frozen=True)
class Taught:
    """Training clips, with the teacher's answers where there is a teacher.

    rows: label rows; those that the teacher scored have `target`, points, and `levels`, a probability for each of `LEVELS`.
    parts: of each clip. folder: where samples of these rows are kept, in the folder of the run. figures: for the metrics.
    """

    rows: list[Row]
    parts: list[Part]
    folder: Path
    figures: dict[str, Any]


def teach(lesson: Lesson, rows: Sequence[Row], dev_rows: Sequence[Row], recipe: NanoRecipe, work: Path, jobs: int) -> Taught:
    """The training clips with targets that are mixed of label and teacher by `recipe.teacher_weight`.

    rows, dev_rows: of `read_labels`; no clip of either is taken as an unlabelled one. work: folder of the run. jobs: sampling
    processes. A clip that the teacher cannot sample keeps its label, and is left out where it has none. Raises ValueError where
    a folder of unlabelled clips has none, `ModelError` of the teacher, and `ScorerError` where a served one stays away.
    """
    extra = unlabelled_rows(lesson.unlabelled, [*rows, *dev_rows]) if lesson.unlabelled else []
    together = [*rows, *extra]
    parts = parts_of(together, recipe.seed)
    answers = teacher_answers(lesson.teacher, together, parts, work, jobs)
    taught = [_mixed(row, answer, recipe.teacher_weight) for row, answer in zip(together, answers, strict=True)]
    kept = [place for place, row in enumerate(taught) if row["kind"] != UNLABELLED or "target" in row]
    scored = [(answer.score, row["mos"]) for row, answer in zip(rows, answers, strict=False) if answer is not None]
    figures = {
        "model": str(lesson.teacher.model),
        "weight": recipe.teacher_weight,
        "clips": len(scored),
        "unlabelled": len(kept) - len(rows),
        "srcc_with_labels": srcc([score for score, _ in scored], [mos for _, mos in scored]),
    }
    # Samples are kept for a list of rows: without unlabelled clips it is that of a run without a teacher.
    more = "".join(str(taught[place]["path"]) for place in kept if place >= len(rows))
    folder = work / (f"train-{hashlib.sha256(more.encode()).hexdigest()[:12]}" if more else "train")
    return Taught([taught[place] for place in kept], [parts[place] for place in kept], folder, figures)


def unlabelled_rows(folder: Path, labelled: Sequence[Row]) -> list[Row]:
    """Label rows of the videos in a folder, whose label is not known yet (0); content and person are the file's folder in it.

    Batches are drawn by content, so files that are in no folder are made contents of `GROUP` clips; the teacher's scores mean
    the same for all of them. Copies of labelled clips are left out, so that no clip of the people who judge the model is
    trained on. Raises ValueError where no clip is left.
    """
    known = {clip_digest(Path(row["path"])) for row in labelled if Path(row["path"]).is_file()}
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in VIDEO_ENDINGS and file.is_file()]
    rows: list[Row] = []
    for file in files:
        if (digest := clip_digest(file)) in known:
            remark(f"{file}: left out, the same clip is there already")
            continue
        known.add(digest)
        inside = file.parent.relative_to(folder)
        content = f"{UNLABELLED}/{f'{len(rows) // GROUP:05}' if inside == Path() else inside.as_posix()}"
        about = {"content": content, "person": content, "kind": UNLABELLED, "step": 0, "absolute": False}
        rows.append({"path": file, "mos": 0.0, "relative": 0.0, "source_grade": 0.0} | about)
    if not rows:
        there = f"all {len(files)} videos are among the labelled ones" if files else "there is no video, or it is no folder"
        raise ValueError(f"{folder}: no clips without labels in it: {there}")
    return rows


def teacher_answers(teacher: Scorer, rows: Sequence[Row], parts: Sequence[Part], work: Path, jobs: int) -> list[Answer | None]:
    """The teacher's answer for the part of each clip; None for one that cannot be sampled, or is missing.

    Kept in `work`, a line of JSON for each clip, in a file named after the teacher and its sampler. Raises `ModelError` where
    another model than at first answers, as a served scorer's may.
    """
    model = teacher.model
    digest = hashlib.sha256(json.dumps([model.name, model.version, teacher.spec.values()]).encode()).hexdigest()[:12]
    file = work / f"teacher-{digest}.jsonl"
    answers = _read(file)
    keys = [_key(Path(row["path"]), part) for row, part in zip(rows, parts, strict=True)]
    left = [place for place, key in enumerate(keys) if key and key not in answers]
    if left:
        remark(f"{model} scores {len(left)} clips; {len(rows) - len(left)} are known")
        samples = sample_all([rows[place] for place in left], teacher.spec, jobs, [parts[place] for place in left])
        with file.open("a", encoding="utf-8") as log:
            for batch in in_batches(samples):
                scores = _scores(teacher, [clip for _, clip in batch])
                for (number, _), score in zip(batch, scores, strict=True):
                    if score.model != model:
                        raise ModelError(f"teacher {model}: {score.model} answers now; give the same command again for that one")
                    key, answer = keys[left[number]], Answer(score.score, [score.level_probs[level] for level in LEVELS])
                    answers[key] = answer
                    print(json.dumps({"clip": key} | vars(answer)), file=log)
                log.flush()
    return [answers.get(key) for key in keys]


def _scores(teacher: Scorer, clips: Sequence[SampledClip]) -> list[ClipScore]:
    """The teacher's scores. A served one that is busy or starts again is waited for; raises `ScorerError` where it stays away."""
    until: float | None = None
    while True:
        try:
            return teacher.score(clips)
        except ScorerError as error:
            if until is None:
                remark(f"{teacher.model}: {error}; it is asked again for {AWAY_SECONDS / 60:g} minutes")
                until = time.monotonic() + AWAY_SECONDS
            if time.monotonic() + error.retry_after > until:
                raise
            time.sleep(max(error.retry_after, 0.1))


def level_targets(rows: Sequence[Mapping[str, Any]]) -> Tensor | None:
    """(N, 5) probabilities that the answer learns, one-hot where the teacher has not scored a row; None without a teacher."""
    if not any("levels" in row for row in rows):
        return None
    return torch.tensor([row.get("levels") or _one_hot(row["mos"]) for row in rows], dtype=torch.float32)


def level_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of level logits (B, 5) against probabilities (B, 5)."""
    return functional.cross_entropy(logits, targets)


def _mixed(row: Row, answer: Answer | None, weight: float) -> Row:
    if answer is None:
        return row
    if row["kind"] == UNLABELLED:
        return row | {"mos": answer.score, "target": answer.score, "levels": answer.levels}
    pairs = zip(_one_hot(row["mos"]), answer.levels, strict=True)
    levels = [(1 - weight) * label + weight * taught for label, taught in pairs]
    return row | {"target": (1 - weight) * row["mos"] + weight * answer.score, "levels": levels}


def _one_hot(mos: float) -> list[float]:
    own = level_of(mos)
    return [float(level == own) for level in LEVELS]


def _key(path: Path, part: Part) -> str:
    """What identifies a part of a clip; empty where the file is missing, which sampling reports."""
    return f"{clip_digest(path)} {part[0]} {part[1]}" if path.is_file() else ""


def _read(file: Path) -> dict[str, Answer]:
    """The answers in a file by clip; a line that a kill cut off is removed. Raises ValueError that names a line that is wrong."""
    if not file.exists():
        return {}
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(file, len(whole))
    answers: dict[str, Answer] = {}
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            values = json.loads(line)
            answer = Answer(float(values["score"]), [float(level) for level in values["levels"]])
            if not 0 <= answer.score <= 100 or len(answer.levels) != len(LEVELS) or not abs(sum(answer.levels) - 1) < 0.01:
                raise ValueError("no score of 0-100 with five probabilities")
            answers[str(values["clip"])] = answer
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file}, line {number}: {error!r}; remove the line, and the clip is scored again") from error
    return answers
