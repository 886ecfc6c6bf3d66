"""`fvq rate export`: rated clips as the CSV that `fvq train` and `fvq promote` read."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from streams.errors import MediaError
from streams.events import TrainingExample
from streams.queue.topic import QueuePlace
from streams.rating.mos import Opinion, RaterReport, judge
from streams.rating.store import RatingStore

COLUMNS = ("path", "stream_id", "mos", "ci", "ratings", "example_id")


@dataclass(frozen=True)
class Exported:
    """What was written: clips, how each rater voted, and what was left out (example id, why)."""

    clips: int
    raters: list[RaterReport]
    left_out: list[tuple[str, str]]


def export_ratings(store: RatingStore, queue: QueuePlace, out: Path, least: int = 1) -> Exported:
    """Write the rated clips that are on the queue now to the CSV `out`; see `export`. Raises `BrokerError`."""
    examples, deleted = queue.read()
    store.sync(examples, deleted)
    return export(store, examples, queue.store.read, out, least)


def export(
    store: RatingStore, queue: Iterable[TrainingExample], read: Callable[[str], bytes], out: Path, least: int = 1
) -> Exported:
    """Write the clips of the queue that have at least `least` ratings to the CSV `out`; a stream is one content.

    Clips of a folder are named where they are; those of an object store are copied into a folder beside the CSV, from
    which those of an earlier export that are not in this one are removed. read: a clip's bytes by its address.
    """
    examples = {(one.stream_id, one.example_id): one for one in queue}
    found, reports = judge(store.ratings(), examples)
    copies = out.absolute().with_name(out.name + ".clips")
    rows, left_out, kept = [], [], set()
    for key, opinion in sorted(found.items()):
        example = examples[key]
        if opinion.ratings < least:
            left_out.append((example.example_id, f"{opinion.ratings} ratings, fewer than {least}"))
            continue
        try:
            path = _clip(example, read, copies)
        except MediaError as error:
            left_out.append((example.example_id, error.reason))
            continue
        kept.add(path)
        rows.append(_row(path, example, opinion))
    if copies.is_dir():
        for old in set(copies.iterdir()) - kept:
            old.unlink()
    part = out.with_name(f".{out.name}.part")
    out.parent.mkdir(parents=True, exist_ok=True)
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    part.replace(out)
    return Exported(len(rows), reports, left_out)


def _row(path: Path, example: TrainingExample, opinion: Opinion) -> tuple[str, ...]:
    ci = "" if opinion.ci is None else f"{opinion.ci:.2f}"
    return (str(path), example.stream_id, f"{opinion.mos:.2f}", ci, str(opinion.ratings), example.example_id)


def _clip(example: TrainingExample, read: Callable[[str], bytes], copies: Path) -> Path:
    data = read(example.clip_uri)
    if hashlib.sha256(data).hexdigest() != example.example_id:
        raise MediaError("the clip in the store is not the one that was queued (its SHA-256 differs)", kind="refused")
    parts = urlsplit(example.clip_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    copies.mkdir(parents=True, exist_ok=True)
    path = copies / (example.example_id + Path(parts.path).suffix)
    path.write_bytes(data)
    return path
