"""Retention: clips are deleted after some days, because faces are personal data. Until then none is lost.

Every worker sweeps, also one that does not harvest: only its own machine sees a clip store in a folder. Deleting a clip that
another worker has deleted already is no error, and queueing one that another worker has queued already changes nothing: an
example's key is its clip.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from streams.errors import EventError, MediaError
from streams.events import StreamDeletion, TrainingExample
from streams.kafka.agent import Agent, Pauses
from streams.kafka.connection import Connection
from streams.queue.clips import ClipStore, folder_of, place_of
from streams.queue.topic import KeyState, Queue, QueueTopic

log = logging.getLogger(__name__)

SWEEP_SECONDS = 3600.0
PAUSES = Pauses(first=300.0, longest=300.0)

STRAY_AGE = timedelta(hours=1)
"""A younger clip is not deleted: a worker may be about to write its example, or to queue it."""

NOTE_AGE = timedelta(days=90)
"""A note that a stream was deleted is kept at least so long: a rating page elsewhere that starts until then deletes the votes."""

QUEUED_TOGETHER = 200
"""Clips that are queued again in one go."""

Fate = Literal["keep", "queue", "delete"]


@dataclass(frozen=True)
class StoredClip:
    """A clip in the store. stored_at: when its file was written, UTC. example: the one beside it; None where there is none."""

    uri: str
    stored_at: datetime
    example: TrainingExample | Literal["unreadable"] | None

    @property
    def chosen_at(self) -> datetime:
        """When the clip was chosen, UTC; retention counts from this time."""
        return self.example.queued_at if isinstance(self.example, TrainingExample) else self.stored_at


def sweep_agent(connection: Connection, store: ClipStore, clip_days: float) -> Agent:
    """The agent that sweeps when it starts, and then every hour. clip_days: days after which a clip is deleted, 0 for never."""

    def run(stop: threading.Event) -> None:
        while not stop.is_set():
            with QueueTopic(connection) as topic:
                sweep(topic, store, clip_days, datetime.now(UTC))
            stop.wait(SWEEP_SECONDS)

    return Agent("sweep", run, PAUSES)


def sweep(topic: QueueTopic, store: ClipStore, clip_days: float, now: datetime) -> None:
    """Delete clips older than `clip_days`, clips half stored and old notes of deletions; queue clips that the topic never had.

    The topic has not had them where it was deleted and made again, where its cluster was lost, or where a worker was killed.
    clip_days: days since a clip was chosen, 0 for no limit. now: UTC.
    """
    ended = _end_examples(topic, store, clip_days, now)
    queue = topic.refresh()
    deletions = {folder_of(stream_id): at for stream_id, at in queue.deletions().items()}
    strays, lost, unreadable = [], [], []
    for clip, state in _not_waiting(store, queue):
        fate = fate_of(clip, state, deletions.get(place_of(clip.uri).partition("/")[0]), clip_days, now)
        if fate == "delete":
            strays.append(clip.uri)
        elif fate == "queue" and isinstance(clip.example, TrainingExample):
            lost.append(clip.example)
        elif clip.example == "unreadable":
            unreadable.append(clip.uri)
    deleted = _delete_strays(topic, store, strays, now)
    for first in range(0, len(lost), QUEUED_TOGETHER):
        queue_stored(topic, store, lost[first : first + QUEUED_TOGETHER])
    if unreadable:
        log.warning("%d clips are not queued: their examples cannot be read, as that beside %s", len(unreadable), unreadable[0])
    parts = store.remove_parts(now - STRAY_AGE)
    if ended or deleted or lost or parts:
        log.info(
            "%d clips were deleted after %g days or with their stream, %d that do not wait, %d files half written; "
            "%d were queued again",
            ended, clip_days, deleted, parts, len(lost),
        )  # fmt: skip


def fate_of(clip: StoredClip, state: KeyState | None, deleted_at: datetime | None, clip_days: float, now: datetime) -> Fate:
    """What is to be done with a clip whose example does not wait.

    state: what the topic says of it, None where it never had it. deleted_at: when its stream was last deleted, UTC. Only a clip
    that was taken back, is forgotten, over its time, or half stored is deleted. An example that cannot be read, on the topic or
    beside the clip, is perhaps one of a later version, whose workers take care of it.
    """
    is_over = bool(clip_days) and now - clip.chosen_at > timedelta(days=clip_days)
    is_forgotten = deleted_at is not None and clip.chosen_at <= deleted_at
    if state == "taken-back" or is_over or is_forgotten or clip.example is None:
        return "delete" if now - clip.stored_at > STRAY_AGE else "keep"
    return "keep" if state == "unreadable" or clip.example == "unreadable" else "queue"


def queue_stored(topic: QueueTopic, store: ClipStore, examples: Sequence[TrainingExample]) -> list[TrainingExample]:
    """Send examples of stored clips; returns those that wait now. Deletes the clips of streams that were deleted meanwhile.

    The examples are read once more after that. `fvq queue rm` deletes a clip before it takes its example back, so a clip that
    is there now either stays or gets that message after this one. The wall writes a rated example beside its clip before it sends
    it, so a rating that this message has undone is beside the clip now.
    """
    topic.add(examples)
    now_beside = [example_beside(store, example.clip_uri) for example in examples]
    topic.add(
        beside
        for example, beside in zip(examples, now_beside, strict=True)
        if isinstance(beside, TrainingExample) and beside != example
    )
    queue = topic.refresh()
    gone = [example for example, beside in zip(examples, now_beside, strict=True) if beside is None or not queue.holds(example)]
    for example in gone:
        store.delete(example.clip_uri)
    topic.take_back(gone)
    return [example for example in examples if example not in gone]


def _delete_strays(topic: QueueTopic, store: ClipStore, uris: Sequence[str], now: datetime) -> int:
    """Delete clips that did not wait when they were listed; returns their number. Leaves one that was stored or queued since.

    A walk through a large store takes minutes, and a person may rate such a clip on the wall meanwhile.
    """
    if not uris:
        return 0
    places, deleted = topic.refresh().places(), 0
    for uri in uris:
        # Its age, not whether its time differs: an object store may list times more finely than it tells them of one object.
        if places.get(place_of(uri)) != "waits" and now - store.stored_at(uri) > STRAY_AGE:
            store.delete(uri)
            deleted += 1
    return deleted


def _end_examples(topic: QueueTopic, store: ClipStore, clip_days: float, now: datetime) -> int:
    """Delete what is over its time, with its clip; returns the number of clips. Clips first: see `streams.queue.topic`."""
    queue = topic.refresh()
    topic.take_back(_old_notes(queue, clip_days, now))
    limit = timedelta(days=clip_days)
    expired = [example for example in queue.examples() if clip_days and now - example.queued_at > limit]
    ended = [*expired, *queue.left_behind()]
    for example in ended:
        try:
            store.delete(example.clip_uri)
        except MediaError as error:
            log.info("a clip is left to the worker that sees its store: %s", error.reason)
    topic.take_back(ended)
    return len(ended)


def _old_notes(queue: Queue, clip_days: float, now: datetime) -> list[StreamDeletion]:
    """The notes of deletions that are not needed any more: every clip of such a stream is over its time.

    Without a note, a clip that `fvq forget` did not reach, because its machine was off, would be queued again.
    """
    if not clip_days:
        return []
    note_age = max(NOTE_AGE, timedelta(days=clip_days))
    notes = [StreamDeletion(stream_id=stream_id, deleted_at=at) for stream_id, at in queue.deletions().items()]
    return [note for note in notes if now - note.deleted_at > note_age]


def _not_waiting(store: ClipStore, queue: Queue) -> Iterator[tuple[StoredClip, KeyState | None]]:
    """The clips of the store whose examples do not wait, and what the topic says of them."""
    places = queue.places()
    for uri, stored_at in store.clips():
        state = places.get(place_of(uri))
        if state != "waits":
            yield StoredClip(uri, stored_at, example_beside(store, uri)), state


def example_beside(store: ClipStore, uri: str) -> TrainingExample | Literal["unreadable"] | None:
    """The example beside a clip, None where there is none. Raises `OSError` where the store does not answer."""
    try:
        return store.example(uri)
    except EventError:
        return "unreadable"
