"""For the tests of the rating page: examples of a training queue, and a reader of their clips."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from scorer.errors import MediaError
from streams.events import ModelRef, TrainingExample


def make_example(clip: Path | None = None, stream_id: str = "studio-7", number: int = 0) -> TrainingExample:
    """An example of a clip on disk. Without a clip, its address leads nowhere. number: tells the examples of a stream apart."""
    data = clip.read_bytes() if clip else f"{stream_id}/{number}".encode()
    return TrainingExample(
        example_id=hashlib.sha256(data).hexdigest(),
        clip_uri=clip.resolve().as_uri() if clip else f"s3://clips/{stream_id}/{number}.ts",
        size=len(data),
        reason="low-score",
        score=12.34,
        uncertainty=5.6,
        model=ModelRef(name="nano", version="1"),
        fingerprint="0123456789abcdef",
        stream_id=stream_id,
        segment_id=f"{stream_id}/{number}",
        sequence=number,
        start=datetime(2026, 1, 1, tzinfo=UTC),
        duration=2.0,
        queued_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def read_file(uri: str) -> bytes:
    """Stands in for `ClipStore.read`: the bytes of a clip in a folder."""
    path = Path(unquote(urlsplit(uri).path))
    if not path.is_file():
        raise MediaError(f"{uri}: gone", kind="not-found")
    return path.read_bytes()
