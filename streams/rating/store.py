"""Raters, what each was shown, and their ratings: one SQLite file, `ratings.sqlite` in FVQ_DATA_DIR.

A rating is on the disk before its answer goes out. Ratings are added, never changed: an undone one stays, marked.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from streams.events import TrainingExample
from streams.rating.order import Key, choose, remaining

Scale = Literal["acr", "slider"]

SCHEMA = """
create table if not exists raters (
    id integer primary key, name text not null unique, token_hash text, seed text not null, created text not null
);
create table if not exists examples (
    stream_id text not null, example_id text not null, clip_uri text not null, queued_at text not null, queued integer not null,
    primary key (stream_id, example_id)
) without rowid;
create table if not exists presentations (
    id text primary key, rater integer not null references raters (id), position integer not null,
    stream_id text not null, example_id text not null, repeat integer not null, shown text not null,
    skipped integer not null default 0, unique (rater, position)
);
create table if not exists ratings (
    id integer primary key, presentation text not null references presentations (id) on delete cascade,
    points real not null check (points between 0 and 100), scale text not null check (scale in ('acr', 'slider')),
    seconds real not null, time text not null, undone integer not null default 0
);
create unique index if not exists one_rating on ratings (presentation) where undone = 0;
create index if not exists presentations_of on presentations (stream_id, example_id);
"""


UNPLAYABLE, AWAY = 1, 2
"""Why a presentation is skipped: for good, or until the next look at the queue."""


class RatingError(ValueError):
    """What was asked for cannot be done; the message says why."""


@dataclass(frozen=True)
class Rater:
    """A person who rates. seed: decides their order of clips; secret, like the token, of which only a hash is kept."""

    id: int
    name: str
    seed: str
    active: bool
    created: str


@dataclass(frozen=True)
class Presentation:
    """A clip that a rater is shown. id: opaque, all that a browser learns of it. repeat: they have rated it before."""

    id: str
    key: Key
    clip_uri: str
    repeat: bool


@dataclass(frozen=True)
class Progress:
    """How far a rater is: presentations rated, those still to come, whether the last rating can be undone, and how many
    were passed over because their clips cannot be had now."""

    done: int
    left: int
    can_undo: bool
    away: int


@dataclass(frozen=True)
class Rating:
    """One opinion. points: 0-100. number: 1 for the rater's first of this clip, 2 for the repeat. seconds: to decide."""

    rater: str
    key: Key
    number: int
    points: float
    scale: Scale
    seconds: float
    time: str


class RatingStore:
    """The ratings of a data folder. Any number of processes may use it; every method is a transaction of its own."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ratings.sqlite"
        directory.mkdir(parents=True, exist_ok=True)
        with self._connect() as db:
            db.execute("pragma journal_mode = wal")
            db.executescript(SCHEMA)

    def add_rater(self, name: str) -> str:
        """A new rater's token, which is nowhere kept; a rater who was removed comes back to their own progress.

        Raises `RatingError` where the name is taken.
        """
        if not name.strip() or len(name) > 100:
            raise RatingError(f"{name!r}: a rater's name has 1 to 100 characters")
        token = secrets.token_urlsafe(32)
        with self._open() as db:
            row = db.execute("select token_hash from raters where name = ?", (name,)).fetchone()
            if row is not None and row[0] is not None:
                raise RatingError(f"{name}: there is such a rater; for a new token: fvq rate rm {name}, then add again")
            db.execute(
                "insert into raters (name, token_hash, seed, created) values (?, ?, ?, ?)"
                " on conflict (name) do update set token_hash = excluded.token_hash",
                (name, _hash(token), secrets.token_hex(16), _now()),
            )
        return token

    def remove_rater(self, name: str, ratings: bool = False) -> None:
        """End a rater's token. ratings: also delete the person and all they rated. Raises `RatingError` for an unknown name."""
        with self._open() as db:
            row = db.execute("select id from raters where name = ?", (name,)).fetchone()
            if row is None:
                raise RatingError(f"{name}: no such rater; `fvq rate ls` shows them")
            db.execute("update raters set token_hash = null where id = ?", row)
            if ratings:
                db.execute("delete from presentations where rater = ?", row)
                db.execute("delete from raters where id = ?", row)

    def raters(self) -> list[tuple[Rater, int]]:
        """All raters by name, each with the number of their ratings."""
        with self._open() as db:
            rows = db.execute(
                "select r.id, r.name, r.seed, r.token_hash is not null, r.created,"
                " (select count(*) from presentations p join ratings g on g.presentation = p.id and not g.undone"
                "  where p.rater = r.id) from raters r order by r.name"
            ).fetchall()
        return [(Rater(row[0], row[1], row[2], bool(row[3]), row[4]), row[5]) for row in rows]

    def sign_in(self, token: str) -> Rater | None:
        """The rater whose token this is."""
        wanted, found = _hash(token), None
        with self._open() as db:
            rows = db.execute("select id, name, seed, token_hash, created from raters where token_hash is not null").fetchall()
        for row in rows:
            # All of them, each in constant time: how long it takes tells nothing.
            if hmac.compare_digest(row[3], wanted):
                found = Rater(row[0], row[1], row[2], True, row[4])
        return found

    def sync(self, examples: Iterable[TrainingExample], deleted: Mapping[str, datetime] | None = None) -> None:
        """Take over what is on the queue now, and forget what was deleted.

        deleted: stream -> when. A clip that left the queue in another way keeps its ratings.
        """
        for stream_id, time in (deleted or {}).items():
            self.forget_stream(stream_id, time)
        with self._open() as db:
            # What could not be had may be there again.
            db.execute("update presentations set skipped = 0 where skipped = ?", (AWAY,))
            db.execute("update examples set queued = 0")
            db.executemany(
                "insert into examples values (?, ?, ?, ?, 1) on conflict (stream_id, example_id)"
                " do update set clip_uri = excluded.clip_uri, queued_at = excluded.queued_at, queued = 1",
                [(one.stream_id, one.example_id, one.clip_uri, _text(one.queued_at)) for one in examples],
            )

    def queued(self) -> dict[Key, str]:
        """The clips that were on the queue at the last `sync`: (stream, example) -> address."""
        with self._open() as db:
            return dict(_queue(db))

    def forget_stream(self, stream_id: str, until: datetime | None = None) -> list[str]:
        """Delete a stream's clips from all tables, with their ratings; gives their example ids.

        until: only those that were queued until then.
        """
        last = "9999" if until is None else _text(until)
        with self._open() as db:
            query = "select example_id from examples where stream_id = ? and queued_at <= ? order by example_id"
            ids = [row[0] for row in db.execute(query, (stream_id, last))]
        return self.forget([(stream_id, one) for one in ids])

    def forget(self, keys: list[Key]) -> list[str]:
        """Delete clips from all tables, with their ratings; gives their example ids."""
        if keys:
            with self._open() as db:
                db.executemany("delete from presentations where stream_id = ? and example_id = ?", keys)
                db.executemany("delete from examples where stream_id = ? and example_id = ?", keys)
            with self._connect() as db:
                db.execute("pragma wal_checkpoint(truncate)")  # it is not to stay in the log either
        return [example_id for _, example_id in keys]

    def current(self, rater: Rater) -> Presentation | None:
        """What the rater is to see now: the one they have not answered, else the next; None when all is rated."""
        with self._open() as db:
            queue = dict(_queue(db))
            for row in db.execute(
                "select p.id, p.stream_id, p.example_id, p.repeat from presentations p where p.rater = ? and not p.skipped"
                " and not exists (select 1 from ratings g where g.presentation = p.id and not g.undone) order by p.position",
                (rater.id,),
            ).fetchall():
                # One whose clip has left the queue stays unanswered.
                if (row[1], row[2]) in queue:
                    return Presentation(row[0], (row[1], row[2]), queue[row[1], row[2]], bool(row[3]))
            shown, skipped, last = _history(db, rater)
            found = choose(rater.seed, shown, queue.keys() - skipped)
            if found is None:
                return None
            key, repeat = found
            presentation = Presentation(secrets.token_urlsafe(16), key, queue[key], repeat)
            db.execute(
                "insert into presentations (id, rater, position, stream_id, example_id, repeat, shown)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                (presentation.id, rater.id, last + 1, *key, repeat, _now()),
            )
            return presentation

    def upcoming(self, rater: Rater) -> tuple[str, str] | None:
        """(example id, address) of the clip that comes after the one they see now, so that it can be made ready."""
        with self._open() as db:
            queue = dict(_queue(db))
            shown, skipped, _ = _history(db, rater)
            found = choose(rater.seed, shown, queue.keys() - skipped)
        return (found[0][1], queue[found[0]]) if found else None

    def presentation(self, rater: Rater, presentation_id: str) -> Presentation | None:
        """A presentation of this rater whose clip is still on the queue."""
        with self._open() as db:
            row = db.execute(
                "select p.id, p.stream_id, p.example_id, e.clip_uri, p.repeat from presentations p join examples e"
                " on e.stream_id = p.stream_id and e.example_id = p.example_id and e.queued where p.id = ? and p.rater = ?",
                (presentation_id, rater.id),
            ).fetchone()
        return Presentation(row[0], (row[1], row[2]), row[3], bool(row[4])) if row else None

    def rate(self, rater: Rater, presentation_id: str, points: float, scale: Scale, seconds: float) -> None:
        """Keep a rating; it is on the disk when this returns. The same one again is no error, so that it can be sent twice.

        Raises `RatingError` where the presentation is not theirs, was skipped or has another rating.
        """
        with self._open() as db:
            own = db.execute(
                "select skipped from presentations where id = ? and rater = ?", (presentation_id, rater.id)
            ).fetchone()
            if own is None:
                raise RatingError("this clip is no longer to be rated")
            if own[0]:
                raise RatingError("this clip was skipped")
            there = db.execute(
                "select points, scale from ratings where presentation = ? and not undone", (presentation_id,)
            ).fetchone()
            if there == (points, scale):
                return
            if there is not None:
                raise RatingError("this clip is rated already")
            db.execute(
                "insert into ratings (presentation, points, scale, seconds, time) values (?, ?, ?, ?, ?)",
                (presentation_id, points, scale, seconds, _now()),
            )

    def undo(self, rater: Rater) -> bool:
        """Take the rater's last rating back, one step and no further: older clips are forgotten. False: there is none."""
        with self._open() as db:
            rating = _undoable(db, rater)
            if rating is not None:
                db.execute("update ratings set undone = 1 where id = ?", (rating,))
        return rating is not None

    def skip(self, rater: Rater, presentation_id: str, away: bool = False) -> None:
        """Mark a presentation whose clip cannot be played: it does not come again.

        away: the clip cannot be had now; it comes again after the next `sync`.
        """
        with self._open() as db:
            db.execute(
                "update presentations set skipped = ? where id = ? and rater = ? and not exists"
                " (select 1 from ratings g where g.presentation = presentations.id and not g.undone)",
                (AWAY if away else UNPLAYABLE, presentation_id, rater.id),
            )

    def progress(self, rater: Rater) -> Progress:
        """How far a rater is."""
        with self._open() as db:
            queue = dict(_queue(db))
            shown, skipped, _ = _history(db, rater)
            (done,) = db.execute(
                "select count(*) from presentations p join ratings g on g.presentation = p.id and not g.undone where p.rater = ?",
                (rater.id,),
            ).fetchone()
            (waiting,) = db.execute(
                "select count(*) from presentations p join examples e on e.stream_id = p.stream_id"
                " and e.example_id = p.example_id and e.queued where p.rater = ? and not p.skipped and not exists"
                " (select 1 from ratings g where g.presentation = p.id and not g.undone)",
                (rater.id,),
            ).fetchone()
            (away,) = db.execute(
                "select count(*) from presentations p join examples e on e.stream_id = p.stream_id"
                " and e.example_id = p.example_id and e.queued where p.rater = ? and p.skipped = ?",
                (rater.id, AWAY),
            ).fetchone()
            left = waiting + remaining(rater.seed, shown, queue.keys() - skipped)
            return Progress(done, left, _undoable(db, rater) is not None, away)

    def ratings(self) -> list[Rating]:
        """All ratings that were not undone, in the order in which they came."""
        with self._open() as db:
            rows = db.execute(
                "select r.name, p.stream_id, p.example_id, 1 + p.repeat, g.points, g.scale, g.seconds, g.time from ratings g"
                " join presentations p on p.id = g.presentation join raters r on r.id = p.rater where not g.undone order by g.id"
            ).fetchall()
        return [Rating(row[0], (row[1], row[2]), *row[3:]) for row in rows]

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on the disk when it ends."""
        with self._connect() as db:
            db.execute("begin immediate")
            try:
                yield db
            except BaseException:
                db.execute("rollback")
                raise
            db.execute("commit")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        # A connection a call: calls are rare, and any thread may make them.
        db = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            db.execute("pragma synchronous = full")
            db.execute("pragma foreign_keys = on")
            # What is deleted is overwritten: a person may have asked for it.
            db.execute("pragma secure_delete = on")
            yield db
        finally:
            db.close()


def _queue(db: sqlite3.Connection) -> Iterator[tuple[Key, str]]:
    for row in db.execute("select stream_id, example_id, clip_uri from examples where queued"):
        yield (row[0], row[1]), row[2]


def _history(db: sqlite3.Connection, rater: Rater) -> tuple[list[Key], set[Key], int]:
    """(what the rater was shown, in order; what of it they skipped; the last one's position, -1 without any)."""
    rows = db.execute(
        "select stream_id, example_id, skipped, position from presentations where rater = ? order by position", (rater.id,)
    ).fetchall()
    keys = [(row[0], row[1]) for row in rows]
    return keys, {key for key, row in zip(keys, rows, strict=True) if row[2]}, rows[-1][3] if rows else -1


def _undoable(db: sqlite3.Connection, rater: Rater) -> int | None:
    """The rater's newest rating, unless the one before it was just undone or its clip has left the queue."""
    row = db.execute(
        "select g.id, e.queued, p.position, (select max(x.position) from presentations x join ratings u on u.presentation = x.id"
        " where x.rater = p.rater) from ratings g join presentations p on p.id = g.presentation and p.rater = ?"
        " left join examples e on e.stream_id = p.stream_id and e.example_id = p.example_id"
        " where not g.undone order by p.position desc limit 1",
        (rater.id,),
    ).fetchone()
    # Ratings that were undone count for the newest position: there, nothing further back can be undone.
    return row[0] if row is not None and row[1] and row[2] == row[3] else None


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _now() -> str:
    return _text(datetime.now(UTC))


def _text(time: datetime) -> str:
    # Always with microseconds: texts of one form are in the order of their times.
    return time.astimezone(UTC).isoformat(timespec="microseconds")
