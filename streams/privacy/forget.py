"""Forgetting a stream: it is removed from every store that the settings name, and what cannot be reached is said.

Each store has its turn whatever became of the others, so that what fails can be tried again: a second run finds nothing where the
first one did its work. Workers may run meanwhile. A stream that still sends comes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streams.errors import BrokerError, FvqError, SinkError
from streams.kafka.clients import check_broker
from streams.kafka.connection import Connection
from streams.privacy import on_disk, on_kafka
from streams.privacy.step import Found, Part, Step
from streams.queue.clips import ClipStore
from streams.rating.database import NAME
from streams.sinks.sqlite_file import FILE

if TYPE_CHECKING:
    from streams.sinks.influx import InfluxBucket

LONGEST_ID = 256
"""Characters of a stream id in an event."""

UNREACHABLE = (
    "what its source still sends: a stream that goes on comes back, so stop it first, or label it store=no",
    "the media where its packager and its recorder keep them, and the source files of `fvq ingest files`",
    "the memory of workers and walls that run: a worker may write its alert state once more within a day of its last segment",
    "data folders of other machines and clip stores that these settings do not name: run this there too",
    "the samples of training runs (MODEL/work), exports that were moved or copied, and models that were trained on its clips",
    "what receivers of alerts have got, Prometheus, log files, back-ups, and old versions in an object store that keeps them",
)
"""What no command of this program reaches."""


@dataclass(frozen=True)
class Places:
    """Where something of a stream may be. connection: None where no broker is set. group: the scorers'. bucket: None without
    InfluxDB."""

    data: Path
    connection: Connection | None
    group: str
    store: ClipStore
    bucket: InfluxBucket | None


def checked_id(stream_id: str) -> str:
    """The id, if an event can have it. Raises `ValueError`."""
    try:
        stream_id.encode()
    except UnicodeEncodeError:
        raise ValueError("the stream's id is no UTF-8: no event can have it") from None
    if not 1 <= len(stream_id) <= LONGEST_ID:
        raise ValueError(f"a stream's id has 1 to {LONGEST_ID} characters, this one {len(stream_id)}")
    return stream_id


def forget_stream(places: Places, stream_id: str, dry_run: bool = False) -> Iterator[Step]:
    """Remove a stream from one store after the other; gives a step for each. dry_run: only look. See `checked_id`."""
    # First of all, because their playable copies are named by them.
    example_ids = _example_ids(places, stream_id)
    for part in _parts(places, stream_id, example_ids, dry_run):
        yield part.run(dry_run)


def forget_scores(places: Places, stream_id: str) -> None:
    """Remove a stream from the sinks alone. Raises `SinkError` where one of them failed, when all had their turn."""
    steps = [part.run(dry_run=False) for part in _scores(places, stream_id, dry_run=False)]
    if failures := [f"{step.store}: {step.text}" for step in steps if step.outcome == "failed"]:
        raise SinkError("; ".join(failures))


def _example_ids(places: Places, stream_id: str) -> set[str]:
    """The ids of the stream's clips. A store that does not answer is left out here: its part says so."""
    looks = [partial(on_disk.rated_clips, places.data, stream_id), partial(places.store.example_ids, stream_id)]
    if places.connection is not None:
        looks.append(partial(on_kafka.waiting_clips, places.connection, stream_id))
    ids: set[str] = set()
    for look in looks:
        with suppress(Exception):
            ids.update(look())
    return ids


def _parts(places: Places, stream_id: str, example_ids: set[str], dry_run: bool) -> Iterator[Part]:
    """Each store, in the order in which they are to be emptied."""
    data, store = places.data, places.store
    connection, events = places.connection, places.connection
    if connection is None:
        yield Part("Kafka", "FVQ_BROKER", lambda: Found(0, "no broker is set, so nothing on Kafka was looked at", remains=True))
    elif problem := _problem(connection):
        yield Part("Kafka", connection.servers, partial(_fail, problem))
        events = None
    else:
        yield from on_kafka.queue_and_letters(connection, store, stream_id, dry_run)
        yield from on_kafka.states(connection, stream_id, dry_run)
    # While ratings and clip store still tell the ids of its clips: if this is stopped in an export, the next run finds them too.
    yield from on_disk.in_exports(data, stream_id, example_ids, dry_run)
    # The clip store after queue and ratings: if this is stopped before, the note on the queue lets the sweep delete the clips.
    yield Part("ratings", str(data / NAME), partial(on_disk.forget_ratings, data, stream_id, dry_run))
    yield Part("clips", store.address, partial(_forget_clips, store, stream_id, dry_run))
    yield Part("playable clips", str(data), partial(on_disk.forget_playable, data, example_ids, dry_run))
    yield from _scores(places, stream_id, dry_run)
    yield Part("cut segments", str(data / "ingest"), partial(on_disk.forget_cut, data, stream_id, dry_run))
    yield Part("pushed segments", str(data / "ingest" / "push"), partial(on_disk.forget_pushed, data, stream_id, dry_run))
    if events is not None:
        yield from on_kafka.events(events, places.group, stream_id, dry_run)


def _scores(places: Places, stream_id: str, dry_run: bool) -> Iterator[Part]:
    """The sinks."""
    file = str(places.data / FILE)
    yield Part("scores in SQLite", file, partial(on_disk.forget_scores, places.data, stream_id, dry_run))
    if places.bucket is not None:
        yield Part("scores in InfluxDB", places.bucket.url, partial(_forget_points, places.bucket, stream_id, dry_run))


def _problem(connection: Connection) -> str:
    """Why no broker answers, '' where one does: each topic's part would wait for one."""
    try:
        check_broker(connection)
    except FvqError as error:
        return str(error)
    return ""


def _fail(problem: str) -> Found:
    raise BrokerError(problem)


def _forget_clips(store: ClipStore, stream_id: str, dry_run: bool) -> Found:
    return Found(len(store.example_ids(stream_id)) if dry_run else store.delete_stream(stream_id))


def _forget_points(bucket: InfluxBucket, stream_id: str, dry_run: bool) -> Found:
    from streams.sinks.influx_erase import erase_stream

    counts = erase_stream(bucket, stream_id, dry_run)
    return Found(sum(counts.values()), ", ".join(f"{count} in bucket {name}" for name, count in counts.items() if count))
