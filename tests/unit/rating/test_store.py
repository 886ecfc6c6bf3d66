"""The ratings file: nothing in it is lost, and what a person asks to delete is gone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streams.rating.order import APART, Key
from streams.rating.store import SECONDS_TO_VOTE, RatingError, RatingStore
from streams.rating.values import Rater
from tests.support.rating import make_example


def filled(folder: Path, count: int = 12) -> tuple[RatingStore, Rater]:
    """A store with `count` clips of three streams on the queue, and one rater."""
    store = RatingStore(folder)
    store.sync([make_example(stream_id=f"studio-{i % 3}", number=i) for i in range(count)])
    rater = store.sign_in(store.add_rater("ada"))
    assert rater is not None
    return store, rater


def test_only_the_token_signs_in_and_no_file_has_it(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)
    token, other = store.add_rater("ada"), store.add_rater("grace")
    ada, grace = store.sign_in(token), store.sign_in(other)
    assert ada is not None
    assert grace is not None
    assert (ada.name, grace.name) == ("ada", "grace")
    assert store.sign_in("") is None
    assert store.sign_in(token[:-1]) is None
    assert store.sign_in("\udcff\udcfe") is None, "a cookie whose bytes are no text"
    for path in tmp_path.iterdir():
        assert token.encode() not in path.read_bytes()
    with pytest.raises(RatingError, match="there is such a rater"):
        store.add_rater("ada")
    store.remove_rater("ada")
    assert store.sign_in(token) is None
    returned = store.sign_in(store.add_rater("ada"))
    assert returned is not None
    assert (returned.id, returned.seed) == (ada.id, ada.seed)


@pytest.mark.parametrize("alike", ["Ada", " ada", "ada ", "ADA", "\uff41da"])
def test_a_name_that_people_take_for_another_raters_is_refused(tmp_path: Path, alike: str) -> None:
    """One person with two names is two votes."""
    store = RatingStore(tmp_path)
    store.add_rater("ada")
    with pytest.raises(RatingError, match="there is a rater ada, and people take both for one"):
        store.add_rater(alike)
    store.add_rater("ada b")
    store.remove_rater("ada")
    with pytest.raises(RatingError, match="there is a rater ada, and people take both for one"):
        store.add_rater(alike)
    store.remove_rater("ada", ratings=True)
    store.add_rater(alike)


def test_a_rater_of_an_earlier_version_whose_name_is_like_another_one_is_added_again(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)
    store.add_rater("ada")
    store.add_rater("grace")
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("update raters set name = 'Ada' where name = 'grace'")
    for name in ("ada", "Ada"):
        store.remove_rater(name)
        assert store.sign_in(store.add_rater(name)) is not None


def test_a_removed_rater_keeps_or_loses_their_ratings(tmp_path: Path) -> None:
    store, ada = filled(tmp_path)
    shown = store.current(ada)
    assert shown is not None
    store.rate(ada, shown.id, 30, "acr", 1)
    store.remove_rater("ada")
    assert len(store.ratings()) == 1
    store.remove_rater("ada", ratings=True)
    assert store.ratings() == []
    assert store.raters() == []
    with pytest.raises(RatingError, match="no such rater"):
        store.remove_rater("ada")


def test_a_clip_is_shown_until_it_is_rated(tmp_path: Path) -> None:
    store, ada = filled(tmp_path)
    first = store.current(ada)
    assert first is not None
    assert store.current(ada) == first
    assert RatingStore(tmp_path).current(ada) == first
    store.rate(ada, first.id, 30, "acr", 1.5)
    store.rate(ada, first.id, 30, "acr", 1.5)  # sent twice
    with pytest.raises(RatingError, match="rated already"):
        store.rate(ada, first.id, 50, "acr", 1.5)
    second = store.current(ada)
    assert second is not None
    assert second.key != first.key
    assert [rating.points for rating in store.ratings()] == [30]


def test_a_rater_cannot_answer_for_another(tmp_path: Path) -> None:
    store, ada = filled(tmp_path)
    grace = store.sign_in(store.add_rater("grace"))
    shown = store.current(ada)
    assert shown is not None
    assert grace is not None
    with pytest.raises(RatingError):
        store.rate(grace, shown.id, 30, "acr", 1)
    assert store.presentation(grace, shown.id) is None
    assert not store.undo(grace)


def test_undo_takes_one_rating_back_and_keeps_it_in_the_file(tmp_path: Path) -> None:
    store, ada = filled(tmp_path)
    ids = []
    for points in (10, 30):
        shown = store.current(ada)
        assert shown is not None
        ids.append(shown.id)
        store.rate(ada, shown.id, points, "acr", 1)
    pending = store.current(ada)
    assert pending is not None
    assert store.undo(ada)
    assert not store.undo(ada)
    back = store.current(ada)
    assert back is not None
    assert back.id == ids[1]
    store.rate(ada, back.id, 90, "acr", 1)
    assert [rating.points for rating in store.ratings()] == [10, 90]
    assert store.current(ada) == pending
    assert store.undo(ada)
    with store._database.transaction() as db:
        assert db.execute("select points, undone from ratings order by id").fetchall() == [(10, 0), (30, 1), (90, 1)]


@pytest.mark.parametrize("away", [True, False])
def test_undo_takes_the_last_vote_back_where_an_earlier_clip_has_come_back_meanwhile(tmp_path: Path, away: bool) -> None:
    store, ada = filled(tmp_path)
    queue = [make_example(stream_id=f"studio-{i % 3}", number=i) for i in range(12)]
    first = store.current(ada)
    assert first is not None
    if away:  # it cannot be read for a moment
        store.skip(ada, first.id, away=True)
    else:
        store.sync([example for example in queue if example.example_id != first.key[1]])
    second = store.current(ada)
    assert second is not None
    store.rate(ada, second.id, 90, "acr", 1)
    store.sync(queue)
    back = store.current(ada)
    assert back is not None
    assert back.id == first.id
    store.rate(ada, back.id, 10, "acr", 1)
    assert store.undo(ada)
    assert [rating.points for rating in store.ratings()] == [90]
    assert store.current(ada) == back
    assert not store.undo(ada)


@pytest.mark.parametrize("by_topic", [True, False])
def test_clips_that_left_the_queue_are_not_shown_and_nothing_remains_of_a_deleted_stream(tmp_path: Path, by_topic: bool) -> None:
    store, ada = filled(tmp_path)
    for _ in range(8):
        shown = store.current(ada)
        assert shown is not None
        store.rate(ada, shown.id, 50, "acr", 1)
    left = [make_example(stream_id=f"studio-{i % 3}", number=i) for i in range(12) if i % 3]
    gone = {make_example(stream_id="studio-0", number=i).example_id for i in range(0, 12, 3)}
    store.sync(left)
    assert {key[0] for key in store.queued()} == {"studio-1", "studio-2"}
    assert len(store.ratings()) == 8  # no rating is lost if the topic is empty by mistake
    queued_at = left[0].queued_at
    assert store.forget_stream("studio-0", queued_at - timedelta(seconds=1)) == []
    if by_topic:
        store.sync(left, {"studio-0": queued_at})
    else:
        assert set(store.forget_stream("studio-0")) == gone
    assert {rating.key[0] for rating in store.ratings()} <= {"studio-1", "studio-2"}
    assert store.progress(ada).done == len(store.ratings())
    for path in tmp_path.iterdir():
        assert b"studio-0" not in path.read_bytes()


def test_a_skipped_clip_is_not_shown_again(tmp_path: Path) -> None:
    store, ada = filled(tmp_path, 2)
    first = store.current(ada)
    assert first is not None
    store.skip(ada, first.id)
    with pytest.raises(RatingError, match="skipped"):
        store.rate(ada, first.id, 10, "acr", 1)
    second = store.current(ada)
    assert second is not None
    store.rate(ada, second.id, 10, "acr", 1)
    assert store.current(ada) is None
    assert (store.progress(ada).done, store.progress(ada).left) == (1, 0)


def test_points_outside_the_scale_are_not_kept(tmp_path: Path) -> None:
    store, ada = filled(tmp_path)
    shown = store.current(ada)
    assert shown is not None
    with pytest.raises(Exception, match="CHECK"):
        store.rate(ada, shown.id, 101, "slider", 1)
    assert store.ratings() == []


KILLED = """
import os, signal, sys
from pathlib import Path
from streams.rating.store import RatingStore
store = RatingStore(Path(sys.argv[1]))
rater = store.sign_in(sys.argv[2])
shown = store.current(rater)
store.rate(rater, shown.id, 70, "acr", 1.0)
print(shown.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_acknowledged_rating_survives_a_kill_of_the_server(tmp_path: Path) -> None:
    store = RatingStore(tmp_path)
    store.sync([make_example(number=i) for i in range(9)])
    token = store.add_rater("ada")
    kept = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), token], capture_output=True, text=True, env=os.environ, timeout=60
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        kept.append(done.stdout.strip())
    with store._database.transaction() as db:
        assert [row[0] for row in db.execute("select presentation from ratings order by id")] == kept


class RatingMachine(RuleBasedStateMachine):
    """A rater who rates and undoes while the queue changes, compared with a model in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = RatingStore(Path(self.folder.name))
        rater = self.store.sign_in(self.store.add_rater("ada"))
        assert rater is not None
        self.rater = rater
        self.queue: list[int] = []
        self.votes: dict[str, tuple[Key, float]] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(numbers=st.sets(st.integers(0, 14)))
    def change_queue(self, numbers: set[int]) -> None:
        self.queue = sorted(numbers)
        self.store.sync([make_example(number=i) for i in self.queue])

    @rule(points=st.sampled_from([10.0, 30.0, 50.0, 70.0, 90.0]))
    def rate(self, points: float) -> None:
        shown = self.store.current(self.rater)
        if shown is None:
            return
        assert shown.key in self.store.queued()
        self.store.rate(self.rater, shown.id, points, "acr", 1.0)
        self.votes[shown.id] = (shown.key, points)

    @rule()
    def skip_for_now(self) -> None:
        shown = self.store.current(self.rater)
        if shown is not None:
            self.store.skip(self.rater, shown.id, away=True)

    @rule()
    def undo(self) -> None:
        before = {rating.key for rating in self.store.ratings()}
        if self.store.undo(self.rater):
            with self.store._database.transaction() as db:
                ids = {row[0] for row in db.execute("select presentation from ratings where not undone")}
            (undone,) = set(self.votes) - ids
            assert undone == next(reversed(self.votes)), "the last vote, wherever its clip is in the order"
            assert self.votes.pop(undone)[0] in before
            assert not self.store.undo(self.rater)

    @invariant()
    def nothing_is_lost_or_made_up(self) -> None:
        ratings = sorted((rating.key, rating.points) for rating in self.store.ratings())
        assert ratings == sorted(self.votes.values())
        assert self.store.progress(self.rater).done == len(ratings)
        keys = [key for key, _ in self.votes.values()]
        assert all(keys.count(key) <= 2 for key in keys)


TestRating = RatingMachine.TestCase
TestRating.settings = settings(max_examples=15, stateful_step_count=30)


def test_repeats_are_numbered(tmp_path: Path) -> None:
    store, ada = filled(tmp_path)
    order = []
    while shown := store.current(ada):
        order.append(shown.key)
        store.rate(ada, shown.id, 50, "acr", 1)
    ratings = store.ratings()
    assert len(ratings) == len(order) == 13
    (repeat,) = [rating for rating in ratings if rating.number == 2]
    first, second = [i for i, key in enumerate(order) if key == repeat.key]
    assert second - first >= APART


def test_progress_estimates_the_time_that_is_left(tmp_path: Path) -> None:
    store, ada = filled(tmp_path)
    # 12 clips of 2 s and one repeat.
    assert store.progress(ada).seconds == 13 * (2 + SECONDS_TO_VOTE)
    while shown := store.current(ada):
        store.rate(ada, shown.id, 50, "acr", 1)
    assert store.progress(ada).seconds == 0
    empty = RatingStore(tmp_path / "empty")
    grace = empty.sign_in(empty.add_rater("grace"))
    assert grace is not None
    assert empty.progress(grace).seconds == 0
