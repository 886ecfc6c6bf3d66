"""The raters of `loop.py`, scripted, and the clips that they rate.

Softness in a face is twice as bad to them as to the labels that the shipped model learned from; about everything else they
agree with those labels. The pictures are of one person, in five framings with different light; each framing is a stream.
The base data that is replayed, and the reference set, hold only damage on which the raters and the labels agree.
"""

from __future__ import annotations

import csv
import random
from pathlib import Path

import skimage.data
from PIL import Image

from streams import parts
from streams.events import SegmentScore
from streams.rating.store import RatingStore
from streams.settings import Settings
from training.data.compare import compare
from training.data.degradations import REFERENCE_LABEL, degrade, label, ladders
from training.data.ffmpeg import FPS
from training.data.references import make_reference
from training.data.synth import synthesise

STREAMS = 5
SECONDS = 1.0
"""Length of every clip."""
SOFT = ("blur-2", "blur-3", "blur-4")
OTHERS = ("x264-6", "x264-8", "x264-9", "mpeg4-4", "noise-2", "noise-3")
"""With `SOFT` the degradations of each stream, `kind-step` as in `ladders()`."""
RATERS = ("ada", "grace", "mary")

BASE_KINDS = ("x264", "x265", "mpeg4", "noise")
BASE_STEPS, BASE_VARIANTS, REFERENCE_VARIANTS = 16, 5, 2
"""Degradations of each reference, references in all, and how many of the references (the last ones) are the reference set."""


def make_clips(folder: Path) -> dict[str, dict[Path, float]]:
    """Stream -> its segments in an order of its own, good and bad, each with the raters' opinion of it, points."""
    folder.mkdir(parents=True, exist_ok=True)
    portrait = folder / "portrait.png"
    Image.fromarray(skimage.data.astronaut()).save(portrait)
    steps = {f"{step.kind}-{step.step}": step for step in ladders()}
    clips: dict[str, dict[Path, float]] = {}
    for number in range(STREAMS):
        stream = f"studio-{number}"
        reference = folder / f"{stream}.reference.mkv"
        make_reference(portrait, reference, SECONDS, number, stream)
        names = [*SOFT, *OTHERS]
        random.Random(number).shuffle(names)  # noqa: S311
        clips[stream] = {reference: REFERENCE_LABEL}
        for name in names:
            clip = folder / f"{stream}.{name}.mkv"
            degrade(reference, steps[name], clip)
            points = label(steps[name], compare(clip, reference, FPS)["vmaf"])
            clips[stream][clip] = max(0.0, 100 - 2 * (100 - points)) if name in SOFT else points
    return clips


def make_base(folder: Path) -> tuple[Path, Path]:
    """Labelled segments as `fvq synth` makes them; returns (the base data to replay, the reference set for the gate)."""
    folder.mkdir(parents=True, exist_ok=True)
    portrait = folder / "base.png"
    Image.fromarray(skimage.data.astronaut()).save(portrait)
    labels = synthesise(folder, [portrait], steps=BASE_STEPS, kinds=BASE_KINDS, variants=BASE_VARIANTS, seconds=SECONDS, seed=7)
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = [f"base-v{variant}" for variant in range(BASE_VARIANTS - REFERENCE_VARIANTS, BASE_VARIANTS)]
    tables = folder / "replay.csv", folder / "reference.csv"
    for table, is_reference_set in zip(tables, (False, True), strict=True):
        with table.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["path", "mos", "split", "content"])
            writer.writerows(
                [row["path"], row["mos"], "train", row["content"]] for row in rows if (row["content"] in last) == is_reference_set
            )
    return tables


def rate(settings: Settings, clips: dict[str, dict[Path, float]], scores: dict[Path, SegmentScore]) -> int:
    """Let every rater rate all queued clips, repeats included; returns the number of ratings.

    clips: of `make_clips`. scores: the clips' scores, which name the segment of each.
    """
    store = RatingStore(settings.data_dir)
    examples, _ = parts.queue(settings).read()
    store.sync(examples)
    opinions = {scores[path].segment_id: points for segments in clips.values() for path, points in segments.items()}
    segment_of = {(example.stream_id, example.example_id): example.segment_id for example in examples}
    count = 0
    for name in RATERS:
        rater = store.sign_in(store.add_rater(name))
        assert rater is not None
        while (shown := store.current(rater)) is not None:
            segment = segment_of[shown.key]
            # The seed names rater and segment, so the points do not depend on the order in which clips are shown.
            points = opinions[segment] + random.Random(f"{name}/{segment}").gauss(0, 3)  # noqa: S311
            store.rate(rater, shown.id, min(100.0, max(0.0, points)), "slider", 1.0)
            count += 1
    return count
