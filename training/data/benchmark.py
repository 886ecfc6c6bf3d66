"""The clips of a benchmark: references of people that no model was trained on, each damaged by every ladder and by pairs of them.

    fvq evaluate MODEL --benchmark FOLDER --people CLIPS

The folder holds the clips, `benchmark.json` (what was asked for) and `benchmark.csv` (labels, as `read_labels` takes them).
A run can be killed and started again: finished clips are kept. The same seed makes the same clips.
"""

from __future__ import annotations

import csv
import json
import random
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.data.damage.catalogue import LADDERS
from training.data.damage.ladder import Ladder, apply
from training.data.degradations import REFERENCE_LABEL
from training.data.references import make_reference
from training.data.synth import measure

LABELS, PLAN = "benchmark.csv", "benchmark.json"
PLAIN = "plain"
"""The scene of a reference that is its source as it is, only scaled down."""

REFERENCE = "reference"

FIELDS = (
    *("path", "content", "person", "scene", "kind", "step", "mos"),
    *("source_grade", "relative", "vmaf", "ssim", "psnr"),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a benchmark is made of, beside its people. ladders: names in `LADDERS`."""

    ladders: tuple[str, ...] = tuple(LADDERS)
    variants: int = 1
    """References of each person."""
    doubles: int = 4
    """Doubly damaged clips of each reference."""
    seconds: float = 2.0
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.ladders) - set(LADDERS)):
            raise ValueError(f"there is no ladder {unknown[0]!r}; there are {', '.join(LADDERS)}")


@dataclass(frozen=True)
class Content:
    """A reference to be made, and whom it shows."""

    name: str
    person: str
    source: Path
    variant: int


def make_benchmark(folder: Path, people: Sequence[Path], plan: Plan, jobs: int) -> Path:
    """Make what is missing of the benchmark; returns the path of its labels.

    people: clean clips and stills, one or several of a person (`training.data.references.find_sources`). jobs: encoders that
    run at once. Raises ValueError where the folder has a benchmark that was made by another plan or of other people.
    """
    contents = [
        Content(f"{source.stem}-v{variant}" if variant else source.stem, source.stem, source, variant)
        for source in people
        for variant in range(plan.variants)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(asdict(plan) | {"people": sorted({content.person for content in contents})}, indent=2) + "\n"
    if (folder / PLAN).exists() and (folder / PLAN).read_text() != wanted:
        raise ValueError(f"{folder} has a benchmark of another plan or other people ({PLAN} says which): take another folder")
    (folder / PLAN).write_text(wanted)
    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(task) for content in contents for task in _tasks(folder, content, plan)]
        rows = [row for task in tqdm(tasks, desc="benchmark", disable=None) if (row := task.result()) is not None]
    with (folder / LABELS).open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return folder / LABELS


def twice_kind(delivery: str, source: str, step: int) -> str:
    """The kind of clips that are damaged by that step of a source ladder, and then by a delivery ladder."""
    return f"{delivery}@{source}-{step}"


def is_twice(kind: str) -> bool:
    """Whether clips of that kind are damaged twice."""
    return "@" in kind


def step_label(ladder: Ladder, step: int, vmaf: float) -> float:
    """The label of one damage against the clip it was done to, points: the declared target, or VMAF up to `REFERENCE_LABEL`."""
    return ladder.target[step] if ladder.target is not None else min(vmaf, REFERENCE_LABEL)


def _tasks(folder: Path, content: Content, plan: Plan) -> list[Callable[[], Row | None]]:
    """What makes the clips of a reference, a call for each. The reference itself is made at once: all others need it."""
    reference = folder / f"{content.name}.reference.mkv"
    if not reference.exists():
        make_reference(content.source, reference, plan.seconds, content.variant, f"{plan.seed}/{content.name}")
    seed = f"{plan.seed}/{content.name}"
    beginning = {"content": content.name, "person": content.person, "scene": PLAIN}
    perfect = {"source_grade": REFERENCE_LABEL, "relative": 100.0, "vmaf": 100.0, "ssim": 1.0, "psnr": 60.0}
    row = beginning | {"path": reference.name, "kind": REFERENCE, "step": 0, "mos": REFERENCE_LABEL} | perfect
    tasks: list[Callable[[], Row | None]] = [lambda: row]
    for name in plan.ladders:
        ladder = LADDERS[name]
        tasks += [_task(folder, beginning, name, step, [(ladder, step)], seed) for step in range(ladder.steps)]
    for at_source, on_the_way in _pairs(content, plan):
        kind = twice_kind(on_the_way[0].name, *_named(at_source))
        tasks.append(_task(folder, beginning, kind, on_the_way[1], [at_source, on_the_way], seed))
    return tasks


def _named(damage: tuple[Ladder, int]) -> tuple[str, int]:
    return damage[0].name, damage[1]


def _pairs(content: Content, plan: Plan) -> list[tuple[tuple[Ladder, int], tuple[Ladder, int]]]:
    """A step of a source ladder, then one of a delivery ladder, drawn from the plan's; none where a stage has no ladder."""
    rng = random.Random(f"{plan.seed}/{content.name}/twice")  # noqa: S311 - reproducible data, not secrets
    stages = [[LADDERS[name] for name in plan.ladders if LADDERS[name].stage == stage] for stage in ("source", "delivery")]
    if not all(stages):
        return []
    single = [[(ladder, step) for ladder in ladders for step in range(ladder.steps)] for ladders in stages]
    return list(dict.fromkeys((rng.choice(single[0]), rng.choice(single[1])) for _ in range(plan.doubles)))


def _task(
    folder: Path, beginning: Row, kind: str, step: int, damages: list[tuple[Ladder, int]], seed: str
) -> Callable[[], Row | None]:
    """A call that makes one clip, unless its record is there, and returns its row; None where the clip cannot be made."""

    def task() -> Row | None:
        name = f"{beginning['content']}.{kind}-{step}"
        record = folder / f"{name}.json"
        if record.exists():
            measured: Row = json.loads(record.read_text())
        else:
            try:
                measured = _damaged(folder, f"{beginning['content']}.reference", name, damages, seed)
            except (ValueError, subprocess.SubprocessError) as error:
                # A clip without a person has no backlight: the benchmark does without this one.
                tqdm.write(f"{name}: left out, {error}")
                return None
            part = record.with_suffix(".part")
            part.write_text(json.dumps(measured))
            part.rename(record)
        row = beginning | {"path": f"{name}.mkv", "kind": kind, "step": step}
        return row | measured | _label(measured, damages)

    return task


def _damaged(folder: Path, reference: str, name: str, damages: list[tuple[Ladder, int]], seed: str) -> Row:
    """Make a clip by its damages, one after the other; returns its measures against the reference, and `parts`.

    parts: VMAF of each damage against the clip that it was done to.
    """
    before, parts = folder / f"{reference}.mkv", []
    scores: Row = {}
    for number, (ladder, step) in enumerate(damages, start=1):
        after = folder / (f"{name}.mkv" if number == len(damages) else f".{name}.middle.mkv")
        apply(ladder, step, before, after, seed)
        scores = measure(after, before)
        parts.append(scores["vmaf"])
        before = after
    if len(damages) > 1:
        scores = measure(before, folder / f"{reference}.mkv")
        (folder / f".{name}.middle.mkv").unlink()
    return {measure_name: scores[measure_name] for measure_name in ("vmaf", "ssim", "psnr")} | {"parts": parts}


def _label(measured: Row, damages: list[tuple[Ladder, int]]) -> Row:
    """`source_grade`, `relative` and `mos` of a clip: what was done at the source, times what was done on the way."""
    source_grade, relative = REFERENCE_LABEL, 100.0
    for (ladder, step), vmaf in zip(damages, measured["parts"], strict=True):
        label = step_label(ladder, step, vmaf)
        if ladder.stage == "source":
            source_grade = label
        else:
            relative = 100 * label / REFERENCE_LABEL
    return {
        "source_grade": round(source_grade, 3),
        "relative": round(relative, 3),
        "mos": round(source_grade * relative / 100, 3),
    }
