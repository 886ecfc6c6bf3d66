"""Which clips an adapter is trained on: the frozen ratings, the replayed clips, and which sets of ratings are refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from tests.support.media import write_frames
from tests.support.processes import ROOT
from training.adapter.loop import Order
from training.adapter.replay import FROZEN, freeze, with_replay
from training.data.rated import REPLAY, read_rated
from training.data.splits import FEWEST
from training.recipe import TuneRecipe, load_tune_recipe
from training.run import tune_from_queue

RECIPE = ROOT / "training/recipes/nano_adapter.yaml"


def recipe(**changes: object) -> TuneRecipe:
    return load_tune_recipe(RECIPE).model_copy(update=changes)


def rated_table(folder: Path, streams: dict[str, int], columns: tuple[str, ...] = ("path", "stream_id", "mos", "ci")) -> Path:
    """An export of rated clips. streams: stream -> its number of clips; no two clips are the same file."""
    folder.mkdir(exist_ok=True)
    rows = []
    for stream, count in streams.items():
        for number in range(count):
            path = folder / f"{stream}-{number}.mp4"
            rng = np.random.default_rng([len(rows), *stream.encode(), *folder.name.encode()])
            write_frames(path, [rng.integers(0, 255, (48, 64, 3), np.uint8)] * 2, 25.0)
            values = {"path": path.name, "stream_id": stream, "mos": 20 + len(rows), "ci": 4.5, "split": "train"}
            rows.append([values[column] for column in columns])
    with (folder / "rated.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return folder / "rated.csv"


def test_of_few_streams_some_are_for_test(tmp_path: Path) -> None:
    table = rated_table(tmp_path / "rated", {"a": 5, "b": 5, "c": 6})
    for seed in range(6):
        rated = read_rated(table, seed)
        tested = {clip.content for clip in rated.of("test")}
        assert len(rated.of("test")) >= FEWEST
        assert len(rated.clips) - len(rated.of("test")) >= len(rated.clips) / 2
        assert tested.isdisjoint(clip.content for clip in rated.of("train"))


def test_a_small_stream_does_not_keep_a_larger_one_from_being_for_test(tmp_path: Path) -> None:
    table = rated_table(tmp_path / "rated", {"a": 2, "b": 6, "c": 6})
    for seed in range(6):
        assert len(read_rated(table, seed).of("test")) == 6


def test_frozen_ratings_are_read_back_with_the_same_splits(tmp_path: Path) -> None:
    source = rated_table(tmp_path / "rated", {"a": 5, "b": 5, "c": 6})
    freeze(source, tmp_path / "elsewhere" / "frozen.csv", seed=3)
    rated = read_rated(source, seed=3)
    again = read_rated(tmp_path / "elsewhere" / "frozen.csv", seed=99)
    assert again.clips == [clip.__class__(clip.path.resolve(), *list(vars(clip).values())[1:]) for clip in rated.clips]
    assert again.clips[0].ci == 4.5


@pytest.mark.parametrize(
    ("streams", "reason"),
    [
        ({"a": 4, "b": 3}, "7 rated clips, at least 8"),
        ({"a": 12}, "all rated clips are of one stream"),
        ({"a": 4, "b": 4}, "0 clips are left|4 clips are left"),
    ],
    ids=["too few clips", "one stream", "too few to judge by"],
)
def test_too_few_ratings_are_refused_and_the_reason_says_what_is_missing(
    streams: dict[str, int], reason: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=reason):
        tune_from_queue(recipe(), rated_table(tmp_path / "rated", streams), None, tmp_path / "model")
    assert not (tmp_path / "model" / FROZEN).exists(), "the next run reads the ratings again"


def test_every_content_is_replayed_once_before_any_twice_and_no_tested_content(tmp_path: Path) -> None:
    rated = read_rated(rated_table(tmp_path / "rated", {"a": 6, "b": 6}))
    (tested,) = {clip.content for clip in rated.of("test")}
    base = rated_table(tmp_path / "base", {"x": 5, "y": 2, "zz": 4, tested: 3}, ("path", "stream_id", "mos", "ci", "split"))
    for seed in range(4):
        mixed = with_replay(rated, base, recipe(replay_clips=6, seed=seed))
        contents = [clip.content for clip in mixed.of(REPLAY)]
        assert mixed.clips[: len(rated.clips)] == rated.clips
        assert {name: contents.count(name) for name in set(contents)} == {"x": 2, "y": 2, "zz": 2}
    assert "6 replay" in mixed.report()
    assert with_replay(rated, base, recipe(replay_share=0)).of(REPLAY) == []
    with pytest.raises(ValueError, match="to replay"):
        with_replay(rated, rated_table(tmp_path / "held", {tested: 3}), recipe())


@pytest.mark.parametrize(("count", "replay", "share"), [(10, 40, 0.5), (10, 4, 0.5), (30, 40, 0.25), (12, 0, 0.5)])
def test_an_epoch_has_every_rated_clip_once_and_its_share_of_replayed_clips(count: int, replay: int, share: float) -> None:
    order = Order(count, 5, replay, share)
    seen = set()
    for epoch in range(30):
        places = order.places(epoch * order.length, order.length)
        assert sorted(places[places < count]) == list(range(count))
        replayed = places[places >= count]
        assert len(replayed) == (round(count * share / (1 - share)) if replay else 0)
        seen |= set(replayed.tolist())
    assert seen == set(range(count, count + replay)), "after some epochs every clip was replayed"
    # A run that goes on in the middle of an epoch sees the same order.
    whole = order.places(0, 3 * order.length)
    assert order.places(order.length - 3, 7).tolist() == whole[order.length - 3 : order.length + 4].tolist()


def test_a_clip_that_judges_is_not_replayed_under_another_contents_name(tmp_path: Path) -> None:
    rated = read_rated(rated_table(tmp_path / "rated", {"a": 6, "b": 6}))
    with (tmp_path / "base.csv").open("w", newline="") as file:
        rows = [[clip.path, clip.mos, "all", "train"] for clip in rated.clips]
        csv.writer(file).writerows([["path", "mos_100", "content", "split"], *rows])
    replayed = {clip.path for clip in with_replay(rated, tmp_path / "base.csv", recipe(replay_clips=50)).of(REPLAY)}
    assert replayed
    assert replayed.isdisjoint(clip.path for clip in rated.clips if clip.split != "train")
