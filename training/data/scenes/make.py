"""Scenes with their damaged segments and labels, made by several processes; a run that was killed goes on.

    fvq synth OUT SOURCE... --scenes 400 [--steps 10] [--seconds 2] [--jobs 2] [--seed 0] [--kinds x264,blur] [--sheet sheet.jpg]

From each reference: some segments damaged once, and some twice, first at the source (lens, sensor, light), then on the way to the
viewer. The label of each is against the flawless reference (`training.data.measures`); `source_grade` is that of its source,
`relative` what the delivery has left of it, in percent.
"""

from __future__ import annotations

import multiprocessing
import subprocess
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2

from training.data.compare import FIGURES, compare, figures_of
from training.data.damage.catalogue import LADDERS
from training.data.damage.ladder import apply
from training.data.degradations import REFERENCE_LABEL
from training.data.labels import write_labels
from training.data.measures import absolute, measure_of, points, twice_kind
from training.data.progress import Progress
from training.data.records import kept_record
from training.data.references import STILLS, check_made_from, made_from
from training.data.remarks import remark
from training.data.scenes.material import Material, read_material
from training.data.scenes.plan import generator
from training.data.scenes.scene import CAST, casts, make_scene, write_scene
from training.data.scenes.sheet import write_sheet
from training.data.sent import in_two_steps, send

COLUMNS = (
    "path", "content", "person", "kind", "step", "mos", "relative", "source_grade", "measure", *FIGURES, "scene", "people",
)  # fmt: skip

TWICE = 0.4
"""Share of the damaged segments that are damaged twice."""

Row = dict[str, Any]


@dataclass(frozen=True)
class Chain:
    """What happens to a reference: (ladder, step) at the source, (ladder, step) of the delivery; at least one of them."""

    source: tuple[str, int] | None
    delivery: tuple[str, int] | None

    @property
    def kind(self) -> str:
        """Its name in labels.csv; see `training.data.measures`."""
        if self.source and self.delivery:
            return twice_kind(self.delivery[0], *self.source)
        return (self.delivery or self.source or ("", 0))[0]

    @property
    def step(self) -> int:
        """The step of the last damage."""
        return (self.delivery or self.source or ("", 0))[1]


def draw_chains(seed: int, content: str, steps: int, kinds: Collection[str] = tuple(LADDERS)) -> list[Chain]:
    """`steps` chains for a reference, in the order in which they are made; a source that is damaged again comes before.

    A number above all single steps means all of them, and as many that are damaged twice as `TWICE` says. kinds: which of
    `LADDERS`; where all are of one stage, nothing is damaged twice.
    """
    rng = generator(seed, content, "damage")
    singles = [(ladder.name, step) for ladder in LADDERS.values() if ladder.name in kinds for step in range(ladder.steps)]
    sources = [single for single in singles if LADDERS[single[0]].stage == "source"]
    deliveries = [single for single in singles if LADDERS[single[0]].stage == "delivery"]
    count = min(steps, round(len(singles) / (1 - TWICE)))
    twice = round(TWICE * count) if sources and deliveries else 0
    order = [singles[int(place)] for place in rng.permutation(len(singles))]
    chains = [
        Chain(single, None) if LADDERS[single[0]].stage == "source" else Chain(None, single) for single in order[: count - twice]
    ]
    # Two deliveries of each damaged source: their order is known.
    for place in range(twice):
        if place % 2 == 0:
            source = sources[int(rng.integers(len(sources)))]
        chains.append(Chain(source, deliveries[int(rng.integers(len(deliveries)))]))
    return list(dict.fromkeys(chains))


@dataclass(frozen=True)
class Task:
    """One scene to make."""

    out: Path
    seed: int
    number: int
    cast: tuple[Path, ...]
    """The leader first."""
    steps: int
    seconds: float
    plain: bool = False
    """Whether nothing is done to the leader's pictures; plain scenes are counted on their own."""
    kinds: Collection[str] = tuple(LADDERS)
    """Of damage."""

    @property
    def content(self) -> str:
        """The scene's name, by which its files begin."""
        return f"{'plain' if self.plain else 'scene'}-{self.number:05d}"

    @property
    def made_from(self) -> str:
        """What decides the pictures of its reference."""
        return made_from(self.seed, self.seconds, self.cast)

    @property
    def person(self) -> str:
        """The name of its cast, by which data is split."""
        return "+".join(sorted(source.stem for source in self.cast))


def make_scenes(
    out: Path,
    sources: Sequence[Path],
    *,
    scenes: int,
    plain: int = 0,
    steps: int,
    seconds: float,
    jobs: int = 2,
    seed: int = 0,
    kinds: Collection[str] = tuple(LADDERS),
    sheet: Path | None = None,
) -> Path:
    """Make scenes, their damaged segments and `labels.csv`; returns the path of that file.

    sources: of `training.data.references.find_sources`. plain: how many more scenes show a person and nothing else. steps:
    damaged segments of each scene, 0 upwards. seconds: length of a scene, large ones are shorter. jobs: processes. kinds: of
    damage. sheet: a picture of all scenes, to look at. Raises ValueError where a source has no pictures, or where all are too
    soft.
    """
    out.mkdir(parents=True, exist_ok=True)
    groups = casts(sources, seed)
    tasks = []
    for is_plain, count in ((False, scenes), (True, plain)):
        leads = leads_of(groups, filmed_only=is_plain)
        for number in range(count):
            tasks.append(Task(out, seed, number, leads[number % len(leads)], steps, seconds, is_plain, kinds))
    # Scenes of one cast come one after the other, as a process keeps the pictures of few sources.
    tasks.sort(key=lambda task: (task.person, task.plain, task.number))
    rows = sorted(_run(tasks, jobs), key=lambda row: row["content"])
    if not rows:
        raise ValueError("no scene could be made: the sources are too soft or too small; give sharper clips or stills")
    labels = write_labels(out / "labels.csv", COLUMNS, rows)
    if sheet is not None:
        references = [row for row in rows if row["kind"] == "reference"]
        write_sheet([(row["content"], out / row["path"], row["scene"].split()) for row in references], sheet)
    return labels


def leads_of(groups: Sequence[tuple[Path, ...]], filmed_only: bool) -> list[tuple[Path, ...]]:
    """Each cast once for each of its people, who comes first: all casts with one leader, then all with the next.

    filmed_only: only clips lead, where there is one: a still has no motion of its own.
    """
    most = max(len(cast) for cast in groups)
    turns = [(*cast[turn:], *cast[:turn]) for turn in range(most) for cast in groups if turn < len(cast)]
    filmed = [cast for cast in turns if cast[0].suffix.lower() not in STILLS]
    return filmed if filmed_only and filmed else turns


def _run(tasks: Sequence[Task], jobs: int) -> Iterator[Row]:
    """The rows of all tasks, as they are finished."""
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        done = pool.map(_make, tasks, chunksize=max(1, min(CAST, len(tasks) // jobs)))
        for rows, remarks in Progress(done, "scenes", total=len(tasks)):
            for text in remarks:
                remark(text)
            yield from rows


@lru_cache(maxsize=CAST)
def _material(source: Path) -> Material | None:
    return read_material(source)


def _make(task: Task) -> tuple[list[Row], list[str]]:
    """(rows, remarks on what was left out) of one scene, in one of the processes."""
    remarks: list[str] = []
    reference = task.out / f"{task.content}.reference.mkv"
    row = kept_record(reference.with_suffix(".json"), lambda: _reference(task, reference))
    if row is None:
        return [], [f"{task.content}: left out, all of {task.person} is too soft"]
    check_made_from(reference, row["made_from"], task.made_from)
    rows = [row]
    sources: dict[tuple[str, int] | None, tuple[Path, float]] = {None: (reference, REFERENCE_LABEL)}
    for chain in draw_chains(task.seed, task.content, task.steps, task.kinds):
        # What is damaged twice needs its damaged source, which is a segment of its own too.
        for part in [Chain(chain.source, None), chain] if chain.source and chain.delivery else [chain]:
            if part.delivery is None and part.source in sources:
                continue
            try:
                segment = _damaged(task, row, part, sources)
            except (ValueError, subprocess.SubprocessError) as error:
                remarks.append(f"{task.content}: {part.kind} {part.step} left out, {error}")
                break
            rows.append(segment)
            if part.delivery is None:
                sources[part.source] = (task.out / segment["path"], segment["mos"])
    return rows, remarks


def _reference(task: Task, out: Path) -> Row | None:
    """Make the reference of a scene; None where all sources of its cast are too soft."""
    cast = [material for source in task.cast if (material := _material(source)) is not None]
    if not cast:
        return None
    scene = make_scene(task.seed, task.number, cast, task.seconds, plain=task.plain)
    write_scene(scene, out)
    return in_two_steps(send(out, scene.fps, f"{task.seed}/{task.content}")) | {
        "content": task.content,
        "person": task.person,
        "kind": "reference",
        "step": 0,
        "measure": measure_of("reference").measure,
        "scene": " ".join(scene.names),
        "people": " ".join(scene.people),
        "fps": scene.fps,
        "made_from": task.made_from,
    }


def _damaged(task: Task, reference: Row, chain: Chain, sources: dict[tuple[str, int] | None, tuple[Path, float]]) -> Row:
    """The row of a damaged segment, made unless its record is there. sources: what a delivery can damage, and its grade."""
    clip = task.out / f"{task.content}.{chain.kind}-{chain.step}.mkv"
    source, grade = sources[chain.source if chain.delivery else None]
    name, step = chain.delivery or chain.source or ("", 0)
    ladder = LADDERS[name]

    def make() -> Row:
        if not clip.exists():
            apply(ladder, step, source, clip, seed=task.content)
        measured = figures_of(compare(clip, sources[None][0], reference["fps"]))
        is_twice = chain.source is not None and chain.delivery is not None
        # A declared target needs no measure against the damaged source.
        again = is_twice and ladder.target is None
        return measured | {"vmaf_of_last": compare(clip, source, reference["fps"])["vmaf"] if again else measured["vmaf"]}

    measured = kept_record(clip.with_suffix(".json"), make)
    last = points(ladder, step, measured["vmaf_of_last"])
    relative, source_grade = (100 * last / REFERENCE_LABEL, grade) if chain.delivery else (100.0, last)
    return reference | {
        "path": clip.name,
        "kind": chain.kind,
        "step": chain.step,
        "mos": absolute(chain.kind, source_grade, relative, measured["vmaf"]),
        "relative": round(relative, 3),
        "source_grade": round(source_grade, 3),
        "measure": measure_of(chain.kind).measure,
        **figures_of(measured),
    }
