"""Raters, the clips that each was shown, and their ratings.

A rating is on the disk before the server answers. Ratings are added and never changed: an undone rating stays, marked.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from streams.errors import FvqError
from streams.events import TrainingExample
from streams.rating.database import Database
from streams.rating.order import Key, choose, remaining
from streams.rating.values import Presentation, Progress, Rater, Rating, Scale
from streams.text import printable

UNPLAYABLE, AWAY = 1, 2
"""Why a presentation is skipped: the clip cannot be played at all, or it could not be read. AWAY ends with the next `sync`."""

SECONDS_TO_VOTE = 4.0
"""How long a rater takes for each clip beside watching it: loading, voting, and a replay now and then. Only for the estimate."""


class RatingError(FvqError):
    """A request of a rater, or about a rater, that cannot be fulfilled."""


class RatingStore:
    """The ratings of a data folder. Any number of processes may use it; each method is one transaction or several."""

    def __init__(self, directory: Path) -> None:
        self._database = Database(directory)

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._database.path

    # Raters.

    def add_rater(self, name: str) -> str:
        """A new rater's token, which is stored nowhere. A removed rater is added again with their earlier progress.

        Raises `RatingError` where the name is in use, empty or too long, or like another rater's: a person would have two votes.
        """
        if not name.strip() or len(name) > 100:
            raise RatingError(f"{name!r}: a rater's name has 1 to 100 characters")
        if printable(name) != name:
            raise RatingError(f"{name!r}: a rater's name has no control characters and no marks of direction")
        token = secrets.token_urlsafe(32)
        with self._database.transaction() as db:
            row = db.execute("select token_hash from raters where name = ?", (name,)).fetchone()
            if row is not None and row[0] is not None:
                raise RatingError(f"{name}: there is such a rater; for a new token: fvq rate rm {name}, then add again")
            if row is None:
                for (other,) in db.execute("select name from raters order by id").fetchall():
                    if _alike(other) == _alike(name):
                        raise RatingError(f"{name!r}: there is a rater {other}, and people take both for one: choose another")
            db.execute(
                "insert into raters (name, token_hash, seed, created) values (?, ?, ?, ?)"
                " on conflict (name) do update set token_hash = excluded.token_hash",
                (name, _hash(token), secrets.token_hex(16), _now()),
            )
        return token

    def remove_rater(self, name: str, ratings: bool = False) -> None:
        """Make a rater's token invalid. ratings: also delete the rater and all their ratings.

        Raises `RatingError` for an unknown name.
        """
        with self._database.transaction() as db:
            row = db.execute("select id from raters where name = ?", (name,)).fetchone()
            if row is None:
                raise RatingError(f"{name}: no such rater; `fvq rate ls` shows them")
            db.execute("update raters set token_hash = null where id = ?", row)
            if ratings:
                db.execute("delete from presentations where rater = ?", row)
                db.execute("delete from raters where id = ?", row)

    def raters(self) -> list[tuple[Rater, int]]:
        """All raters by name, each with the number of their ratings."""
        with self._database.transaction() as db:
            rows = db.execute(
                "select r.id, r.name, r.seed, r.token_hash is not null, r.created,"
                " (select count(*) from presentations p join ratings g on g.presentation = p.id and not g.undone"
                "  where p.rater = r.id) from raters r order by r.name"
            ).fetchall()
        return [(Rater(row[0], row[1], row[2], bool(row[3]), row[4]), row[5]) for row in rows]

    def sign_in(self, token: str) -> Rater | None:
        """The rater with this token; None where no rater has it."""
        token_hash, rater = _hash(token), None
        with self._database.transaction() as db:
            rows = db.execute("select id, name, seed, token_hash, created from raters where token_hash is not null").fetchall()
        for row in rows:
            # Compare with all raters, each in constant time: the time of an answer must not help to guess a token.
            if hmac.compare_digest(row[3], token_hash):
                rater = Rater(row[0], row[1], row[2], True, row[4])
        return rater

    # The queue, and deletion.

    def sync(self, examples: Iterable[TrainingExample], deleted: Mapping[str, datetime] | None = None) -> None:
        """Replace the known queue by `examples`, and delete what belongs to deleted streams.

        deleted: stream id -> time of its deletion. A clip that left the queue in another way keeps its ratings.
        """
        for stream_id, time in (deleted or {}).items():
            self.forget_stream(stream_id, time)
        with self._database.transaction() as db:
            # A clip that could not be read before may be readable now.
            db.execute("update presentations set skipped = 0 where skipped = ?", (AWAY,))
            db.execute("update examples set queued = 0")
            db.executemany(
                "insert into examples (stream_id, example_id, clip_uri, queued_at, duration, queued) values (?, ?, ?, ?, ?, 1)"
                " on conflict (stream_id, example_id) do update set clip_uri = excluded.clip_uri,"
                " queued_at = excluded.queued_at, duration = excluded.duration, queued = 1",
                [_row(example) for example in examples],
            )

    def queued(self) -> dict[Key, str]:
        """The clips that were on the queue at the last `sync`: (stream id, example id) -> address."""
        with self._database.transaction() as db:
            return _queue(db)

    def forget_stream(self, stream_id: str, until: datetime | None = None) -> list[str]:
        """Delete a stream's clips from all tables, with their ratings; returns their example ids.

        until: delete only the clips that were queued at this time or earlier.
        """
        last = "9999" if until is None else _iso_time(until)
        with self._database.transaction() as db:
            query = "select example_id from examples where stream_id = ? and queued_at <= ? order by example_id"
            example_ids = [row[0] for row in db.execute(query, (stream_id, last))]
        return self.forget([(stream_id, example_id) for example_id in example_ids])

    def clips_of(self, stream_id: str) -> list[str]:
        """The example ids of a stream's clips, queued or not."""
        with self._database.transaction() as db:
            rows = db.execute("select example_id from examples where stream_id = ? order by example_id", (stream_id,))
            return [row[0] for row in rows]

    def forget(self, keys: list[Key]) -> list[str]:
        """Delete clips from all tables, with their ratings; returns their example ids."""
        if keys:
            with self._database.transaction() as db:
                db.executemany("delete from presentations where stream_id = ? and example_id = ?", keys)
                db.executemany("delete from examples where stream_id = ? and example_id = ?", keys)
            self._database.empty_log()
        return [example_id for _, example_id in keys]

    # The clip that a rater sees.

    def current(self, rater: Rater) -> Presentation | None:
        """The clip to show now: the earliest one that the rater did not answer, else a new one; None when all are rated."""
        with self._database.transaction() as db:
            queue = _queue(db)
            for row in db.execute(
                "select p.id, p.stream_id, p.example_id from presentations p where p.rater = ? and not p.skipped"
                " and not exists (select 1 from ratings g where g.presentation = p.id and not g.undone) order by p.position",
                (rater.id,),
            ).fetchall():
                # If its clip has left the queue, the presentation stays unanswered.
                if (row[1], row[2]) in queue:
                    return Presentation(row[0], (row[1], row[2]), queue[row[1], row[2]])
            shown, skipped, last = _history(db, rater)
            choice = choose(rater.seed, shown, queue.keys() - skipped)
            if choice is None:
                return None
            key, repeat = choice
            presentation = Presentation(secrets.token_urlsafe(16), key, queue[key])
            db.execute(
                "insert into presentations (id, rater, position, stream_id, example_id, repeat, shown)"
                " values (?, ?, ?, ?, ?, ?, ?)",
                (presentation.id, rater.id, last + 1, *key, repeat, _now()),
            )
            return presentation

    def upcoming(self, rater: Rater) -> tuple[str, str] | None:
        """(example id, address) of the clip after the current one, so that the server can prepare it; None: there is none."""
        with self._database.transaction() as db:
            queue = _queue(db)
            shown, skipped, _ = _history(db, rater)
            choice = choose(rater.seed, shown, queue.keys() - skipped)
        return (choice[0][1], queue[choice[0]]) if choice else None

    def presentation(self, rater: Rater, presentation_id: str) -> Presentation | None:
        """A presentation of this rater whose clip is still on the queue; None where there is no such presentation."""
        with self._database.transaction() as db:
            row = db.execute(
                "select p.id, p.stream_id, p.example_id, e.clip_uri from presentations p join examples e"
                " on e.stream_id = p.stream_id and e.example_id = p.example_id and e.queued where p.id = ? and p.rater = ?",
                (presentation_id, rater.id),
            ).fetchone()
        return Presentation(row[0], (row[1], row[2]), row[3]) if row else None

    # Answers of a rater.

    def rate(
        self,
        rater: Rater,
        presentation_id: str,
        points: float,
        scale: Scale,
        seconds: float,
        factor: float | None = None,
    ) -> None:
        """Keep a rating; it is on the disk when this returns. A browser may send the same rating again: that is no error.

        points, seconds, factor: as in `Rating`.
        Raises `RatingError` where the presentation is not this rater's, was skipped or has another rating.
        """
        with self._database.transaction() as db:
            presentation = db.execute(
                "select skipped from presentations where id = ? and rater = ?", (presentation_id, rater.id)
            ).fetchone()
            if presentation is None:
                raise RatingError("this clip is no longer to be rated")
            if presentation[0]:
                raise RatingError("this clip was skipped")
            earlier = db.execute(
                "select points, scale from ratings where presentation = ? and not undone", (presentation_id,)
            ).fetchone()
            if earlier == (points, scale):
                return
            if earlier is not None:
                raise RatingError("this clip is rated already")
            db.execute(
                "insert into ratings (presentation, points, scale, seconds, time, factor) values (?, ?, ?, ?, ?, ?)",
                (presentation_id, points, scale, seconds, _now(), factor),
            )

    def undo(self, rater: Rater) -> bool:
        """Take the rater's last rating back; False where there is none to take back.

        Only one step: raters no longer remember the clips before.
        """
        with self._database.transaction() as db:
            rating = _undoable(db, rater)
            if rating is not None:
                db.execute("update ratings set undone = 1 where id = ?", (rating,))
        return rating is not None

    def skip(self, rater: Rater, presentation_id: str, away: bool = False) -> None:
        """Mark a presentation whose clip cannot be played, so that it is not shown again.

        away: the clip could not be read; it is shown after the next `sync`.
        """
        with self._database.transaction() as db:
            db.execute(
                "update presentations set skipped = ? where id = ? and rater = ? and not exists"
                " (select 1 from ratings g where g.presentation = presentations.id and not g.undone)",
                (AWAY if away else UNPLAYABLE, presentation_id, rater.id),
            )

    # Results.

    def progress(self, rater: Rater) -> Progress:
        """How far a rater is."""
        with self._database.transaction() as db:
            queue = _queue(db)
            shown, skipped, _ = _history(db, rater)
            (done,) = db.execute(
                "select count(*) from presentations p join ratings g on g.presentation = p.id and not g.undone where p.rater = ?",
                (rater.id,),
            ).fetchone()
            (unanswered,) = db.execute(
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
            left = unanswered + remaining(rater.seed, shown, queue.keys() - skipped)
            (duration,) = db.execute("select coalesce(avg(duration), 0) from examples where queued").fetchone()
            return Progress(done, left, _undoable(db, rater) is not None, away, left * (duration + SECONDS_TO_VOTE))

    def ratings(self) -> list[Rating]:
        """All ratings that were not undone, oldest first."""
        with self._database.transaction() as db:
            rows = db.execute(
                "select r.name, p.stream_id, p.example_id, 1 + p.repeat, g.points, g.scale, g.seconds, g.time, g.factor"
                " from ratings g join presentations p on p.id = g.presentation join raters r on r.id = p.rater"
                " where not g.undone order by g.id"
            ).fetchall()
        return [Rating(row[0], (row[1], row[2]), *row[3:]) for row in rows]


def _alike(name: str) -> str:
    """What names have in common that differ only in case, spaces, or how their letters are encoded."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def _row(example: TrainingExample) -> tuple[str, str, str, str, float]:
    return example.stream_id, example.example_id, example.clip_uri, _iso_time(example.queued_at), example.duration


def _queue(db: sqlite3.Connection) -> dict[Key, str]:
    rows = db.execute("select stream_id, example_id, clip_uri from examples where queued")
    return {(stream_id, example_id): clip_uri for stream_id, example_id, clip_uri in rows}


def _history(db: sqlite3.Connection, rater: Rater) -> tuple[list[Key], set[Key], int]:
    """(clips that the rater was shown, in order; the skipped ones of them; the last position, -1 where there is none)."""
    rows = db.execute(
        "select stream_id, example_id, skipped, position from presentations where rater = ? order by position", (rater.id,)
    ).fetchall()
    keys = [(row[0], row[1]) for row in rows]
    return keys, {key for key, row in zip(keys, rows, strict=True) if row[2]}, rows[-1][3] if rows else -1


def _undoable(db: sqlite3.Connection, rater: Rater) -> int | None:
    """The id of the rater's newest rating; None where a later one was just undone, or its clip has left the queue."""
    # By the ids of ratings, which grow with time, and not by positions: an earlier clip may come back and be rated later.
    row = db.execute(
        "select g.id, e.queued, g.undone from ratings g join presentations p on p.id = g.presentation and p.rater = ?"
        " left join examples e on e.stream_id = p.stream_id and e.example_id = p.example_id order by g.id desc limit 1",
        (rater.id,),
    ).fetchone()
    return row[0] if row is not None and row[1] and not row[2] else None


def _hash(token: str) -> str:
    # A cookie's bytes that are no UTF-8 come as lone surrogates.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _now() -> str:
    return _iso_time(datetime.now(UTC))


def _iso_time(time: datetime) -> str:
    # Always UTC with microseconds: then the order of the texts is the order of the times.
    return time.astimezone(UTC).isoformat(timespec="microseconds")
