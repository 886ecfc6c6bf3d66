"""What replay is worth: tunes adapters from few rated clips of one kind of damage, with different shares of replayed clips.

    python -m tests.bench.replay TRAIN/labels.csv TEST/labels.csv OUT [--shares 0 0.5] [--people 10] [--replay 128] [--json]

Both files are made by `fvq synth`, of different people; the shipped model was trained on TRAIN. The queue holds soft clips of
a few people of TRAIN, and softness is twice as bad to its raters as to the labels. The base data is the rest of TRAIN with
its own labels, which contradict the raters on soft clips. Of TEST, the clips that are not soft are the reference set, and
the soft ones are the newly rated clips.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from scorer.find import SHIPPED
from scorer.spec import SamplerSpec
from tests.bench.opinion import RECIPE, SOFT, Rows, punished, scores
from training.adapter import tune as tuning
from training.adapter.replay import with_replay
from training.data.damage.catalogue import VMAF_TRUSTED
from training.data.labels import read_labels
from training.data.rated import RatedClip, read_rated
from training.data.samples import Samples
from training.evaluation.agreement import agreement
from training.recipe import load_tune_recipe
from training.run import tune_from_queue

EACH = 4
"""Rated clips of each person."""
EVERY = 3
"""Of TEST every third clip is used."""


def write_table(table: Path, rows: Iterable[tuple[dict[str, Any], float, str]]) -> Path:
    """Write a table of rated clips; returns its path. rows: (row of a labels file, label, split)."""
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "mos_100", "split", "content"])
        writer.writerows([row["path"].resolve(), mos, split, row["person"]] for row, mos, split in rows)
    return table


def queue_of(rows: Rows, people: Sequence[str], seed: int) -> Rows:
    """Soft clips of these people, `EACH` of each person, drawn at random."""
    rng = np.random.default_rng(seed)
    chosen = []
    for person in people:
        soft = [row for row in rows if row["person"] == person and row["kind"] in SOFT]
        chosen += [soft[place] for place in rng.permutation(len(soft))[:EACH]]
    return chosen


def compare(train: Path, test: Path, out: Path, shares: Sequence[float], people: int, replay: int) -> list[dict[str, Any]]:
    """Train an adapter with each share; returns the figures on the reference set and on the newly rated clips of each model.

    The shipped model's figures come first. people: whose clips are in the queue. replay: largest number of replayed clips.
    """
    recipe, nano = load_tune_recipe(RECIPE), SHIPPED["nano"]
    recipe = recipe.model_copy(update={"replay_clips": replay})
    out.mkdir(parents=True, exist_ok=True)
    base, other = read_labels(train), read_labels(test)[::EVERY]
    names = sorted({row["person"] for row in base})
    chosen = list(np.random.default_rng(recipe.seed).permutation(names)[:people])
    rated = queue_of(base, chosen, recipe.seed)
    soft = [row for row in other if row["kind"] in SOFT]
    kept = [row for row in other if row["kind"] in VMAF_TRUSTED | {"reference"} and row["kind"] not in SOFT]
    new = [(row, punished(row["mos"]), "train") for row in rated] + [(row, punished(row["mos"]), "test") for row in soft]
    queue = write_table(out / "rated.csv", new)
    old = write_table(out / "base.csv", [(row, row["mos"], "train") for row in base if row["person"] not in chosen])
    reference = read_rated(write_table(out / "reference.csv", [(row, row["mos"], "test") for row in kept])).clips
    # The clips of all runs, sampled once.
    everything = [*with_replay(read_rated(queue), old, recipe).clips, *reference]
    samples = tuning.sampled(everything, SamplerSpec.load(nano), out / "work")
    where = {everything[row].path: place for place, row in enumerate(samples.rows)}

    def subset(clips: Sequence[RatedClip], *_: object) -> Samples:
        rows = [row for row, clip in enumerate(clips) if clip.path in where]
        places = [where[clips[row].path] for row in rows]
        return Samples({name: array[places] for name, array in samples.arrays.items()}, np.array(rows))

    def figures(model: Path, name: str, minutes: float) -> dict[str, Any]:
        row: dict[str, Any] = {"model": name, "minutes": minutes}
        for on, clips in (("reference", reference), ("rated", read_rated(queue).of("test"))):
            chosen = subset(clips)
            taken = [clips[int(place)] for place in chosen.rows]
            answers = scores(model, chosen, np.arange(len(taken)))
            row[on] = agreement(answers, [clip.mos for clip in taken], [clip.content for clip in taken]) | {"n": len(taken)}
        return row

    rows = [figures(nano, "nano", 0.0)]
    with patch.object(tuning, "sampled", subset):
        for share in shares:
            began = time.monotonic()
            target = out / f"share-{share:g}"
            tune_from_queue(recipe.model_copy(update={"replay_share": share}), queue, old, target)
            rows.append(figures(target, f"replay_share {share:g}", (time.monotonic() - began) / 60))
    return rows


def main() -> None:
    """Compare all shares and print the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--shares", nargs="+", type=float, default=(0.0, 0.5))
    parser.add_argument("--people", type=int, default=10, help="whose clips were rated")
    parser.add_argument("--replay", type=int, default=128, help="different clips that are replayed")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = compare(arguments.train, arguments.test, arguments.out, arguments.shares, arguments.people, arguments.replay)
    if arguments.json:
        print(json.dumps(rows))
        return
    print(f"{EACH * arguments.people} rated clips of {arguments.people} people; {arguments.replay} clips to replay")
    first = rows[0]
    print(
        f"| | reference ({first['reference']['n']}): SRCC | RMSE | MAE | newly rated ({first['rated']['n']}): SRCC | MAE | min |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        old, new = row["reference"], row["rated"]
        print(
            f"| {row['model']} | {old['srcc']:.3f} | {old['rmse']:.1f} | {old['mae']:.1f} "
            f"| {new['srcc']:.3f} | {new['mae']:.1f} | {row['minutes']:.1f} |"
        )


if __name__ == "__main__":
    main()
