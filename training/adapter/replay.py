"""Prepares training from the queue: freezes the ratings of a run, and mixes in clips that the base was trained on.

    fvq train --from-queue --recipe training/recipes/nano_adapter.yaml --out MODEL [--data BASE/labels.csv]

Without replayed clips an adapter forgets what the base knows. The ratings are written to MODEL/work/rated.csv when the run
starts, with the split of each clip: a run that goes on after a kill reads the same ratings, and `fvq promote` judges by the
contents that were not trained on. The folder `work` is not published.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from scorer.storage import write_whole
from training.data.digests import clip_digest
from training.data.rated import REPLAY, RatedClip, RatedSet, read_rated
from training.data.splits import FEWEST
from training.recipe import TuneRecipe

FEWEST_RATED = 8
"""Rated clips that an adapter needs at least; from fewer it learns the clips, not the raters' opinion."""

FROZEN = Path("work/rated.csv")
"""The frozen ratings, in the folder of the run."""


def with_replay(rated: RatedSet, source: Path, recipe: TuneRecipe) -> RatedSet:
    """The rated clips, and after them `recipe.replay_clips` training clips of `source`, of as many contents as possible.

    source: what the base was trained on, as `read_rated` takes it. Contents that are in the val or test split of the rated
    clips are left out. Raises ValueError where nothing is left to replay.
    """
    if not recipe.replay_share:
        return rated
    base = read_rated(source, recipe.seed)
    judged = [clip for clip in rated.clips if clip.split != "train"]
    held_out, same = {clip.content for clip in judged}, {clip_digest(clip.path) for clip in judged}
    by_content: dict[str, list[RatedClip]] = {}
    for place in np.random.default_rng(recipe.seed).permutation(len(base.clips)):
        clip = base.clips[place]
        if clip.split == "train" and clip.content not in held_out and clip_digest(clip.path) not in same:
            by_content.setdefault(clip.content, []).append(clip)
    # The first of every content, then the second of every content, and so on.
    ordered = sorted(
        ((number, clip) for clips in by_content.values() for number, clip in enumerate(clips)), key=lambda numbered: numbered[0]
    )
    if not ordered:
        raise ValueError(f"{source}: no clips of its split train to replay.\n{base.report()}")
    replayed = [replace(clip, split=REPLAY) for _, clip in ordered[: recipe.replay_clips]]
    return RatedSet([*rated.clips, *replayed], [*rated.dropped, *base.dropped])


def freeze(source: Path, table: Path, seed: int) -> None:
    """Write the usable rows of the ratings `source` to `table`, with absolute paths and splits.

    seed: decides the split of each content. Raises ValueError that says what is missing where the ratings are too few to
    train on and to judge by.
    """
    rated = read_rated(source, seed)
    contents, tested = {clip.content for clip in rated.clips}, len(rated.of("test"))
    if len(rated.clips) < FEWEST_RATED:
        raise ValueError(
            f"{source}: {len(rated.clips)} rated clips, at least {FEWEST_RATED} are needed: rate more of the queue "
            f"(`fvq rate`).\n{rated.report()}"
        )
    if len(contents) < 2:
        raise ValueError(
            f"{source}: all rated clips are of one stream: nothing would be left to judge the model by, since a stream is "
            f"trained on or tested on, never both. Rate clips of a second stream.\n{rated.report()}"
        )
    if tested < FEWEST:
        raise ValueError(
            f"{source}: {tested} clips are left to judge the model by, at least {FEWEST} are needed: half of the clips are "
            "for training, and a stream is never divided, nor are streams that share half of their clips. Rate more clips, of "
            f"more streams.\n{rated.report()}"
        )
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    # The name says that these are points, also where all of them are small.
    writer.writerow(["path", "mos_100", "split", "content", "ci"])
    for clip in rated.clips:
        writer.writerow([clip.path.resolve(), clip.mos, clip.split, clip.content, "" if clip.ci is None else clip.ci])
    write_whole(table, (file.getvalue().encode(),))
