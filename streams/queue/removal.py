"""Deleting clips for good: from the queue, from the rating page's data, and from the clip store.

The store comes last: if the deletion stops before that, the clip has no example any more, and the sweep deletes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from streams.errors import MediaError
from streams.events import StreamDeletion, TrainingExample
from streams.queue.topic import QueuePlace, QueueTopic


@dataclass(frozen=True)
class Removed:
    """What was deleted. clips: their number. elsewhere: why clips could not be deleted that are in another store."""

    clips: int
    elsewhere: list[str]


def remove_clips(place: QueuePlace, ids: Sequence[str], forget: Callable[[Sequence[TrainingExample]], object]) -> Removed:
    """Delete clips. ids: example ids, or their first characters. forget: deletes the clips' ratings.

    Raises `ValueError` where no clip has an id, or several have.
    """
    if place.connection is None:
        examples = find_examples(place.read()[0], ids)
    else:
        with QueueTopic(place.connection) as topic:
            examples = find_examples(topic.refresh().examples(), ids)
            topic.take_back(examples)
    forget(examples)
    elsewhere = []
    for example in examples:
        try:
            place.store.delete(example.clip_uri)
        except MediaError as error:
            elsewhere.append(error.reason)
    return Removed(len(examples), elsewhere)


def remove_stream(place: QueuePlace, stream_id: str, forget: Callable[[], object]) -> int:
    """Delete all clips of a stream; returns their number. forget: deletes the stream's ratings."""
    if place.connection is not None:
        with QueueTopic(place.connection) as topic:
            # The deletion first: an example that a worker queues from now on is seen here, or deleted by that worker. Rating
            # pages on other machines read the deletion too.
            topic.add([StreamDeletion(stream_id=stream_id, deleted_at=datetime.now(UTC))])
            topic.take_back(topic.refresh().of_stream(stream_id))
    forget()
    return place.store.delete_stream(stream_id)


def find_examples(examples: Sequence[TrainingExample], ids: Sequence[str]) -> list[TrainingExample]:
    """The examples with these ids; the same clip may wait in several streams. Raises `ValueError` as `find_example`."""
    wanted = {find_example(examples, start).example_id for start in ids}
    return [example for example in examples if example.example_id in wanted]


def find_example(examples: Sequence[TrainingExample], start: str) -> TrainingExample:
    """The example whose id starts with these characters. Raises `ValueError` where no clip has such an id, or several have."""
    matching = [example for example in examples if start and example.example_id.startswith(start)]
    if not matching:
        raise ValueError(f"no clip {start!r} waits; `fvq queue ls` lists them")
    if len({example.example_id for example in matching}) > 1:
        raise ValueError(f"{start!r} begins the ids of {len(matching)} clips: give more characters")
    return matching[0]
