"""From rated clips to what an adapter is trained on: what is replayed, what is judged by, what is too little."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.support.media import write_frames
from tests.support.processes import ROOT
from training.adapter.loop import Order
from training.adapter.replay import FROZEN, freeze, tune_from_queue, with_replay
from training.data.rated import FEWEST, REPLAY, read_rated
from training.recipe import TuneRecipe, load_tune_recipe

RECIPE = ROOT / "training/recipes/nano_adapter.yaml"


def recipe(**changes: object) -> TuneRecipe:
    return load_tune_recipe(RECIPE).model_copy(update=changes)


def rated_table(folder: Path, streams: dict[str, int], columns: tuple[str, ...] = ("path", "stream_id", "mos", "ci")) -> Path:
    """An export of so many clips a stream, every file another."""
    folder.mkdir(exist_ok=True)
    rows = []
    for stream, count in streams.items():
        for number in range(count):
            path = folder / f"{stream}-{number}.mp4"
            rng = np.random.default_rng([len(rows), len(stream)])
            write_frames(path, [rng.integers(0, 255, (48, 64, 3), np.uint8)] * 2, 25.0)
            values = {"path": path.name, "stream_id": stream, "mos": 20 + len(rows), "ci": 4.5, "split": "train"}
            rows.append([values[column] for column in columns])
    with (folder / "rated.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return folder / "rated.csv"


def test_few_streams_leave_some_to_judge_by(tmp_path: Path) -> None:
    table = rated_table(tmp_path / "rated", {"a": 5, "b": 5, "c": 6})
    for seed in range(6):
        rated = read_rated(table, seed)
        tested = {clip.content for clip in rated.of("test")}
        assert len(rated.of("test")) >= FEWEST
        assert len(rated.clips) - len(rated.of("test")) >= len(rated.clips) / 2
        assert tested.isdisjoint(clip.content for clip in rated.of("train"))


def test_frozen_ratings_read_back_as_the_same_with_their_splits(tmp_path: Path) -> None:
    source = rated_table(tmp_path / "rated", {"a": 5, "b": 5, "c": 6})
    rated = freeze(source, tmp_path / "elsewhere" / "frozen.csv", seed=3)
    again = read_rated(tmp_path / "elsewhere" / "frozen.csv", seed=99)
    assert again.clips == [clip.__class__(clip.path.resolve(), *list(vars(clip).values())[1:]) for clip in rated.clips]
    assert again.clips[0].ci == 4.5


@pytest.mark.parametrize(
    ("streams", "said"),
    [
        ({"a": 4, "b": 3}, "7 rated clips, at least 8"),
        ({"a": 12}, "all rated clips are of one stream"),
        ({"a": 4, "b": 4}, "0 clips are left|4 clips are left"),
    ],
    ids=["too few clips", "one stream", "too few to judge by"],
)
def test_too_little_is_refused_and_says_what_is_missing(streams: dict[str, int], said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        tune_from_queue(recipe(), rated_table(tmp_path / "rated", streams), None, tmp_path / "model")
    assert not (tmp_path / "model" / FROZEN).exists(), "the next attempt reads the ratings anew"


def test_every_content_is_replayed_before_any_twice_and_none_that_is_judged_by(tmp_path: Path) -> None:
    rated = read_rated(rated_table(tmp_path / "rated", {"a": 6, "b": 6}))
    (judged_by,) = {clip.content for clip in rated.of("test")}
    base = rated_table(tmp_path / "base", {"x": 5, "y": 2, "zz": 4, judged_by: 3}, ("path", "stream_id", "mos", "ci", "split"))
    for seed in range(4):
        mixed = with_replay(rated, base, recipe(replay_clips=6, seed=seed))
        contents = [clip.content for clip in mixed.of(REPLAY)]
        assert mixed.clips[: len(rated.clips)] == rated.clips
        assert {name: contents.count(name) for name in set(contents)} == {"x": 2, "y": 2, "zz": 2}
    assert "6 replay" in mixed.report()
    assert with_replay(rated, base, recipe(replay_share=0)).of(REPLAY) == []
    with pytest.raises(ValueError, match="to replay"):
        with_replay(rated, rated_table(tmp_path / "held", {judged_by: 3}), recipe())


@pytest.mark.parametrize(("count", "replay", "share"), [(10, 40, 0.5), (10, 4, 0.5), (30, 40, 0.25), (12, 0, 0.5)])
def test_an_epoch_has_every_rated_clip_once_and_its_share_of_replay(count: int, replay: int, share: float) -> None:
    order = Order(count, 5, replay, share)
    seen = set()
    for epoch in range(30):
        places = order.places(epoch * order.length, order.length)
        assert sorted(places[places < count]) == list(range(count))
        replayed = places[places >= count]
        assert len(replayed) == (round(count * share / (1 - share)) if replay else 0)
        seen |= set(replayed.tolist())
    assert seen == set(range(count, count + replay)), "in the end everything is replayed"
    # Any part of the order is the same, wherever a run goes on.
    whole = order.places(0, 3 * order.length)
    assert order.places(order.length - 3, 7).tolist() == whole[order.length - 3 : order.length + 4].tolist()
