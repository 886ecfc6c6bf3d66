"""What a worker keeps of people's faces, as lines for its log and for `fvq doctor`: what, where, how long, how to turn it off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from streams.media.shown import shown_store, without_secrets
from streams.text import printable

MOST_EXPORTS = 3
"""Exports that are named; a worker's first lines must not be a long list."""


@dataclass(frozen=True)
class Keeping:
    """What is kept, as the settings say. No clip store, broker or sink is asked.

    data: the data folder. clips: address of the clip store. clip_days, store_days, export_days: 0 for ever. harvest: whether
    clips are stored. per_hour: most of one stream. pictures: seconds between two of a stream, None for none. faces: how they are
    shown in pictures. influx: where scores are instead of SQLite, None without InfluxDB. exports: paths of those that are noted.
    """

    data: Path
    clips: str
    clip_days: float
    harvest: bool
    per_hour: int
    pictures: float | None
    pictures_topic: str
    faces: Literal["show", "blur"]
    influx: str | None
    store_days: float
    exports: tuple[str, ...] = ()
    export_days: float = 365.0


def kept_lines(keeping: Keeping) -> list[str]:
    """The lines, each on one line of its own and printable; passwords in addresses are left out."""
    return [printable(line) for line in _lines(keeping)]


def _lines(keeping: Keeping) -> Iterator[str]:
    store, days = shown_store(keeping.clips), _days(keeping.clip_days)
    if keeping.harvest:
        yield (
            f"faces: clips that the model finds hard are stored in {store} {days} (FVQ_CLIP_DAYS), at most {keeping.per_hour} of "
            "a stream in an hour; FVQ_HARVEST=false stores none, the label store=no none of its stream"
        )
    else:
        yield f"faces: no clip is stored (FVQ_HARVEST=false), except those that people rate on the wall, in {store} {days}"
    if keeping.pictures is None:
        yield "faces: no pictures of streams are made (FVQ_PICTURES=off)"
    else:
        shown = "faces are blurred" if keeping.faces == "blur" else "FVQ_PICTURES_FACES=blur hides the faces that are found"
        yield (
            f"faces: a small picture of each stream every {keeping.pictures:g} s, on Kafka's topic {keeping.pictures_topic} for "
            f"an hour; {shown}, FVQ_PICTURES=off makes none, the label store=no none of its stream"
        )
    yield f"faces: a segment is in {keeping.data / 'inbox'} until it is scored"
    for path in keeping.exports[:MOST_EXPORTS]:
        yield f"faces: clips were exported to {path}, where they stay {_days(keeping.export_days)} (FVQ_EXPORT_DAYS)"
    if len(keeping.exports) > MOST_EXPORTS:
        yield f"faces: and {len(keeping.exports) - MOST_EXPORTS} more exports, noted in {keeping.data / 'exports'}"
    scores = f"{without_secrets(keeping.influx)}, as long as the bucket keeps them" if keeping.influx else ""
    scores = scores or f"{keeping.data / 'scores.sqlite'} {_days(keeping.store_days)} (FVQ_STORE_DAYS)"
    yield f"no faces: scores are in {scores}"
    yield "`fvq forget STREAM` removes a stream from all of these; docs/privacy.md has every store"


def _days(days: float) -> str:
    return f"for {days:g} days" if days else "for ever"
