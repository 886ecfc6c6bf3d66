"""The clips of a benchmark: references of people that no model was trained on, each damaged by every ladder and by pairs of them.

    fvq evaluate MODEL --benchmark FOLDER --people CLIPS

The folder holds the clips, `benchmark.json` (what was asked for) and `benchmark.csv` (labels, as `read_labels` takes them).
A run can be killed and started again: finished clips are kept. The same seed makes the same clips.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.data.compare import FIGURES, compare, figures_of
from training.data.damage.catalogue import LADDERS
from training.data.damage.ladder import Ladder, apply
from training.data.degradations import REFERENCE_LABEL
from training.data.ffmpeg import FPS
from training.data.labels import write_labels
from training.data.measures import absolute, points, twice_kind
from training.data.progress import Progress
from training.data.records import kept_record
from training.data.references import make_reference
from training.data.remarks import remark
from training.data.scenes.material import read_material
from training.data.scenes.scene import make_scene, write_scene
from training.data.sent import in_two_steps, send

LABELS, PLAN = "benchmark.csv", "benchmark.json"
PLAIN = "plain"
"""The scene of a reference that is its source as it is, only scaled down."""

REFERENCE = "reference"

FIELDS = (
    *("path", "content", "person", "scene", "kind", "step", "mos"),
    *("source_grade", "relative", *FIGURES),
)

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What a benchmark is made of, beside its people. ladders: names in `LADDERS`."""

    ladders: tuple[str, ...] = tuple(LADDERS)
    variants: int = 1
    """Plain references of each person, which get every ladder."""
    scenes: int = 0
    """Scenes of each person (`training.data.scenes`), which are damaged twice only."""
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
    number: int
    """Of the variant, or of the scene among all people's scenes."""
    is_scene: bool = False


def make_benchmark(folder: Path, people: Sequence[Path], plan: Plan, jobs: int) -> Path:
    """Make what is missing of the benchmark; returns the path of its labels.

    people: a clean clip or still of each person (`training.data.references.find_sources`). jobs: encoders that run at once.
    One whose file cannot be read, or is too short, is left out with a remark. Raises ValueError where the folder has a benchmark
    that was made by another plan or of other people, and where none is left.
    """
    contents = _contents(people, plan)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(asdict(plan) | {"people": sorted({content.person for content in contents})}, indent=2) + "\n"
    if (folder / PLAN).exists() and (folder / PLAN).read_text() != wanted:
        raise ValueError(f"{folder} has a benchmark of another plan or other people ({PLAN} says which): take another folder")
    (folder / PLAN).write_text(wanted)
    with ThreadPoolExecutor(jobs) as pool:
        tasks = [pool.submit(task) for content in contents for task in _tasks(folder, content, plan)]
        rows = [row for task in Progress(tasks, "benchmark") if (row := task.result()) is not None]
    if not rows:
        raise ValueError(f"{folder}: no clip could be made of the people")
    return write_labels(folder / LABELS, FIELDS, rows)


def _contents(people: Sequence[Path], plan: Plan) -> list[Content]:
    contents = []
    for place, source in enumerate(people):
        person = source.stem
        contents += [
            Content(f"{person}-v{variant}" if variant else person, person, source, variant) for variant in range(plan.variants)
        ]
        # No two people have a scene of the same number: it decides what the scene is.
        numbers = range(place * plan.scenes, (place + 1) * plan.scenes)
        contents += [Content(f"{person}-scene{number}", person, source, number, is_scene=True) for number in numbers]
    return contents


def _tasks(folder: Path, content: Content, plan: Plan) -> list[Callable[[], Row | None]]:
    """What makes the clips of a reference, a call for each. The reference itself is made at once: all others need it."""
    reference = folder / f"{content.name}.reference.mkv"
    seed = f"{plan.seed}/{content.name}"
    try:
        made = kept_record(reference.with_suffix(".json"), lambda: _reference(reference, content, plan, seed))
    except subprocess.SubprocessError:
        remark(f"{content.name}: left out, ffmpeg cannot read {content.source}")
        return []
    except ValueError as error:
        remark(f"{content.name}: left out, {error}")
        return []
    if made is None:
        remark(f"{content.name}: left out, {content.source} is too soft for a scene")
        return []
    beginning = {"content": content.name, "person": content.person} | made
    # A benchmark that was begun before references were sent has them as they are.
    perfect = {"source_grade": REFERENCE_LABEL, "relative": 100.0, "vmaf": 100.0, "ssim": 1.0, "psnr": 60.0}
    row = {"path": reference.name, "mos": REFERENCE_LABEL} | perfect | beginning | {"kind": REFERENCE, "step": 0}
    tasks: list[Callable[[], Row | None]] = [lambda: row]
    for name in plan.ladders if not content.is_scene else ():
        ladder = LADDERS[name]
        tasks += [_task(folder, beginning, name, step, [(ladder, step)], seed) for step in range(ladder.steps)]
    for at_source, on_the_way in _pairs(content, plan):
        kind = twice_kind(on_the_way[0].name, at_source[0].name, at_source[1])
        tasks.append(_task(folder, beginning, kind, on_the_way[1], [at_source, on_the_way], seed))
    return tasks


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
        reference = folder / f"{beginning['content']}.reference.mkv"
        try:
            measured = kept_record(folder / f"{name}.json", lambda: _damaged(reference, beginning["fps"], name, damages, seed))
        except (ValueError, subprocess.SubprocessError) as error:
            # A clip without a person has no backlight: the benchmark does without this one.
            remark(f"{name}: left out, {error}")
            return None
        row = beginning | {"path": f"{name}.mkv", "kind": kind, "step": step}
        return row | measured | _label(kind, measured, damages)

    return task


def _reference(reference: Path, content: Content, plan: Plan, seed: str) -> Row | None:
    """Make a reference; returns its `scene` and `fps`, None where its source is too soft to be a scene's."""
    if not content.is_scene:
        make_reference(content.source, reference, plan.seconds, content.number, seed)
        return {"scene": PLAIN, "fps": FPS} | in_two_steps(send(reference, FPS, seed))
    material = read_material(content.source)
    if material is None:
        return None
    scene = make_scene(plan.seed, content.number, [material], plan.seconds)
    write_scene(scene, reference)
    return {"scene": " ".join(scene.names), "fps": scene.fps} | in_two_steps(send(reference, scene.fps, seed))


def _damaged(reference: Path, fps: float, name: str, damages: list[tuple[Ladder, int]], seed: str) -> Row:
    """Make a clip by its damages, one after the other; returns its measures against the reference, and `parts`.

    parts: VMAF of each damage against the clip that it was done to.
    """
    before, parts = reference, []
    scores: Row = {}
    middle = reference.with_name(f".{name}.middle.mkv")
    for number, (ladder, step) in enumerate(damages, start=1):
        after = reference.with_name(f"{name}.mkv") if number == len(damages) else middle
        apply(ladder, step, before, after, seed)
        scores = compare(after, before, fps)
        parts.append(scores["vmaf"])
        before = after
    if len(damages) > 1:
        scores = compare(before, reference, fps)
        middle.unlink()
    return figures_of(scores) | {"parts": parts}


def _label(kind: str, measured: Row, damages: list[tuple[Ladder, int]]) -> Row:
    """`source_grade`, `relative` and `mos` of a clip, by `training.data.measures`."""
    source_grade, relative = REFERENCE_LABEL, 100.0
    for (ladder, step), vmaf in zip(damages, measured["parts"], strict=True):
        label = points(ladder, step, vmaf)
        if ladder.stage == "source":
            source_grade = label
        else:
            relative = 100 * label / REFERENCE_LABEL
    mos = absolute(kind, source_grade, relative, measured["vmaf"])
    return {"source_grade": round(source_grade, 3), "relative": round(relative, 3), "mos": round(mos, 3)}
