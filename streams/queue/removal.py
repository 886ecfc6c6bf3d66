"""Removal: deletes clips for good, from the clip store, from the ratings, and from the queue.

The topic comes last: if the command is stopped before, the clip is still listed, and the command can be given again. If it came
first, Kafka would drop the message in a day or two, and the sweep would queue a clip that is still there again. The deletion of
a stream comes first instead: its note on the topic stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.errors import MediaError
from streams.events import PICTURES_TOPIC, StreamDeletion, TrainingExample
from streams.kafka.clients import send_all, writing
from streams.kafka.connection import Connection
from streams.kafka.topics import has_topic
from streams.queue.clips import ClipStore
from streams.queue.topic import QueuePlace, QueueTopic


@dataclass(frozen=True)
class Removed:
    """What was deleted. clips: their number. elsewhere: for each clip in another store, why it could not be deleted."""

    clips: int
    elsewhere: list[str]


def remove_clips(place: QueuePlace, ids: Sequence[str], forget: Callable[[Sequence[TrainingExample]], object]) -> Removed:
    """Delete clips, in all streams that have them. A clip in another store stays as it is, with its ratings.

    ids: example ids, or their first characters. forget: deletes the ratings of examples. Raises `ValueError` as `find_example`,
    before anything is deleted; `BrokerError`, `OSError`.
    """
    if place.connection is None:
        removed, elsewhere = _delete_clips(place.store, find_examples(place.read()[0], ids))
        forget(removed)
        return Removed(len(removed), elsewhere)
    with QueueTopic(place.connection) as topic:
        removed, elsewhere = _delete_clips(place.store, find_examples(topic.refresh().examples(), ids))
        forget(removed)
        topic.take_back(removed)
    return Removed(len(removed), elsewhere)


def _delete_clips(store: ClipStore, examples: Sequence[TrainingExample]) -> tuple[list[TrainingExample], list[str]]:
    """The examples whose clips are deleted now, and why each other one is not."""
    removed, elsewhere = [], []
    for example in examples:
        try:
            store.delete(example.clip_uri)
        except MediaError as error:
            elsewhere.append(error.reason)
        else:
            removed.append(example)
    return removed, elsewhere


def remove_stream(place: QueuePlace, stream_id: str, forget: Callable[[], object]) -> int:
    """Delete all clips of a stream and its picture; returns the number of clips in the store.

    forget: deletes the stream's ratings. Raises `BrokerError`, `OSError`.
    """
    if place.connection is not None:
        with QueueTopic(place.connection) as topic:
            # Send the deletion first. refresh() below then reads every example that was queued earlier; a worker that queues one
            # later reads the deletion and deletes its clip. Rating pages on other machines read the deletion too.
            topic.add([StreamDeletion(stream_id=stream_id, deleted_at=datetime.now(UTC))])
            topic.take_back(topic.refresh().of_stream(stream_id))
        _delete_picture(place.connection, stream_id)
    forget()
    return place.store.delete_stream(stream_id)


def _delete_picture(connection: Connection, stream_id: str) -> None:
    """Take back the stream's picture on the pictures' topic, if there is that topic."""
    topic = connection.named(PICTURES_TOPIC)
    if has_topic(connection, topic):
        with writing(connection) as producer:
            send_all(producer, topic, [(stream_id.encode(), None)])


def find_examples(examples: Sequence[TrainingExample], ids: Sequence[str]) -> list[TrainingExample]:
    """The examples with these ids, which may be several for one id: the same clip may wait in several streams.

    ids: example ids, or their first characters. Raises `ValueError` as `find_example`.
    """
    chosen = {find_example(examples, start).example_id for start in ids}
    return [example for example in examples if example.example_id in chosen]


def find_example(examples: Sequence[TrainingExample], start: str) -> TrainingExample:
    """The example whose id starts with these characters, the first one where several streams have the clip.

    Raises `ValueError` where no clip has such an id, or different clips have.
    """
    matching = [example for example in examples if start and example.example_id.startswith(start)]
    if not matching:
        raise ValueError(f"no clip {start!r} waits; `fvq queue ls` lists them")
    if len({example.example_id for example in matching}) > 1:
        raise ValueError(f"{start!r} begins the ids of {len(matching)} clips: give more characters")
    return matching[0]
