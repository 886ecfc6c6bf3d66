"""`fvq rate export`: writes the rated clips to the CSV that `fvq train` and `fvq promote` read."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scorer.storage import write_whole
from streams.errors import MediaError
from streams.events import TrainingExample
from streams.queue.clips import check_clip
from streams.queue.topic import QueuePlace
from streams.rating.mos import Opinion, RaterReport, judge
from streams.rating.order import Key
from streams.rating.store import RatingStore
from streams.rating.values import Rating
from streams.text import csv_text

COLUMNS = ("path", "stream_id", "mos", "ci", "ratings", "example_id", "factor")
"""Training treats all clips of one stream id as one content. factor: the sizes at which the clip was rated, as `0.5 1`."""

COPY = re.compile(r"[0-9a-f]{64}\.\w+")
"""Names that this gives to copies of clips."""


@dataclass(frozen=True)
class Exported:
    """What was written. clips: number of rows. raters: how each rater voted. left_out: (example id, reason) of other clips.

    gone: number of rated clips that are not on the queue any more.
    """

    clips: int
    raters: list[RaterReport]
    left_out: list[tuple[str, str]]
    gone: int


def read_queue(store: RatingStore, queue: QueuePlace) -> list[TrainingExample]:
    """The clips of the queue, which the store of ratings then knows too. Raises `BrokerError`."""
    examples, deleted = queue.read()
    store.sync(examples, deleted)
    return examples


def export(
    store: RatingStore, queue: Iterable[TrainingExample], read: Callable[[str], bytes], out: Path, least: int = 1
) -> Exported:
    """Write the clips of the queue that have at least `least` ratings to the CSV `out`; returns what was written.

    A clip in a folder is listed with its path there. A clip in an object store is copied into a folder beside the CSV; copies
    of an earlier export that this one does not need are deleted when its CSV stands. read: returns a clip's bytes for its
    address.
    """
    examples = {(example.stream_id, example.example_id): example for example in queue}
    ratings = store.ratings()
    opinions, reports = judge(ratings, examples)
    factors = _factors(ratings, {report.rater for report in reports if not report.rejected})
    copies = out.absolute().with_name(out.name + ".clips")
    rows, left_out, kept = [], [], set()
    for key, opinion in sorted(opinions.items()):
        example = examples[key]
        if opinion.ratings < least:
            left_out.append((example.example_id, f"{opinion.ratings} ratings, fewer than {least}"))
            continue
        try:
            path = _clip_path(example, read, copies)
        except MediaError as error:
            left_out.append((example.example_id, error.reason))
            continue
        kept.add(path)
        rows.append(_row(path, example, opinion, factors[key]))
    _write_csv(out, rows)
    if copies.is_dir():
        for old in set(copies.iterdir()) - kept:
            if COPY.fullmatch(old.name) and old.is_file():
                old.unlink()
    return Exported(len(rows), reports, left_out, gone=len({rating.key for rating in ratings} - examples.keys()))


def _factors(ratings: Iterable[Rating], raters: set[str]) -> dict[Key, str]:
    """The different factors at which these raters saw each clip, smallest first; "unknown" for votes that have none."""
    by_clip: defaultdict[Key, set[float | None]] = defaultdict(set)
    for rating in ratings:
        if rating.rater in raters:
            by_clip[rating.key].add(rating.factor)
    return {key: _factors_text(factors) for key, factors in by_clip.items()}


def _factors_text(factors: set[float | None]) -> str:
    known = [f"{factor:.4g}" for factor in sorted(factor for factor in factors if factor is not None)]
    return " ".join(["unknown", *known] if None in factors else known)


def _row(path: Path, example: TrainingExample, opinion: Opinion, factor: str) -> tuple[str, ...]:
    ci = "" if opinion.ci is None else f"{opinion.ci:.2f}"
    return (str(path), csv_text(example.stream_id), f"{opinion.mos:.2f}", ci, str(opinion.ratings), example.example_id, factor)


def _clip_path(example: TrainingExample, read: Callable[[str], bytes], copies: Path) -> Path:
    """The file of a clip, copied first where it is in an object store. Raises `MediaError` where it is gone or has changed."""
    data = read(example.clip_uri)
    check_clip(data, example.example_id)
    parts = urlsplit(example.clip_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    copies.mkdir(parents=True, exist_ok=True)
    path = copies / (example.example_id + Path(parts.path).suffix)
    path.write_bytes(data)
    return path


def _write_csv(out: Path, rows: list[tuple[str, ...]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_whole(out, [text.getvalue().encode()])
