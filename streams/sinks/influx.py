"""Scores in InfluxDB 2.x, through influxdb-client: the schema (for users: docs/sinks.md), and how points get there.

Measurement `segment_score`. A point is identified by its tags and its time, so a repeated answer overwrites itself:

- time: the segment's start, milliseconds. Two segments of one rendition of one stream cannot start at the same time.
- tags `stream_id`, `rendition` (`default` where there is none), `model` (`name@version`; none where nothing was scored)
  and `status`. Series: streams x renditions x (models + 1). All four are the operator's own, and few.
- fields: segment_id, sequence, duration; of a scored one score, uncertainty, level, `p_<level>`, faces, face_area and
  each signal; of a skipped one reason.

`segment_id`, `uri` and labels are no tags: their values have no bound, and every new one would be a new series. A segment
that is answered twice by different models, or scored before a restart and skipped after it, has two points, which carry
the same `segment_id`: readers that count segments de-duplicate by it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from streams.errors import SinkError
from streams.events import SegmentScore
from streams.sinks.base import Rejected, Sink

MEASUREMENT = "segment_score"
PROBE_MEASUREMENT = "fvq_probe"
TIMEOUT_MS = 10_000

WRITE_POINTS = 1000
"""Points of one request: some 600 bytes each before compression, far below the 50 MB that a server takes."""

REFUSALS = {400, 413, 422}
"""Answers about what was sent, not about the server: a malformed line, too much of it, a field of another type."""


@dataclass(frozen=True)
class InfluxBucket:
    """Where scores go: server, token, organisation and bucket."""

    url: str
    token: str = field(repr=False)
    org: str
    bucket: str

    @property
    def hourly(self) -> str:
        """Name of the bucket for hourly values."""
        return f"{self.bucket}_hourly"


class InfluxSink(Sink):
    """Scores as points of one bucket. Holds what was added since the last flush, which is one batch of the worker."""

    def __init__(self, place: InfluxBucket) -> None:
        self._url, self._bucket = place.url, place.bucket
        self._client = InfluxDBClient(place.url, place.token, org=place.org, timeout=TIMEOUT_MS, enable_gzip=True)
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self._waiting: list[SegmentScore] = []
        self._written = 0
        self._rejected: list[Rejected] = []

    def add(self, score: SegmentScore) -> None:
        """Buffer a score."""
        self._waiting.append(score)

    async def flush(self) -> list[Rejected]:
        """Write the buffer; the server has acknowledged it when this returns, but for the points that it refuses."""
        while self._waiting:
            chunk = self._waiting[:WRITE_POINTS]
            self._rejected += await self._write(chunk, self._written)
            del self._waiting[: len(chunk)]
            self._written += len(chunk)
        rejected, self._rejected, self._written = self._rejected, [], 0
        return rejected

    async def check(self) -> str:
        """Ask the server for the bucket."""
        found = await self._call(self._client.buckets_api().find_bucket_by_name, self._bucket)
        if found is None:
            raise SinkError(
                f"InfluxDB {self._url}: no bucket {self._bucket!r} that this token may see; "
                "`fvq doctor --setup` creates it, or set FVQ_INFLUX_BUCKET"
            )
        return f"InfluxDB {self._url}, bucket {self._bucket}"

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def _write(self, scores: Sequence[SegmentScore], place: int) -> list[Rejected]:
        """Write points, the first of which has this place. Refused points are found by halving, and returned; the others are
        written."""
        try:
            await self._send([to_point(score) for score in scores])
        except _RefusedError as refusal:
            if len(scores) > 1:
                half = len(scores) // 2
                return await self._write(scores[:half], place) + await self._write(scores[half:], place + half)
            await self._check_blame(refusal)
            return [Rejected(place, str(refusal))]
        return []

    async def _check_blame(self, refusal: _RefusedError) -> None:
        """Raise `SinkError` where the server refuses a point that is right as well: then it is not the point's fault.

        A proxy with a fault of its own answers 400 to everything, and every score would be given up.
        """
        probe = Point(PROBE_MEASUREMENT).field("ok", 1).time(int(time.time()) * 1000, WritePrecision.MS)
        try:
            await self._send([probe])
        except _RefusedError:
            raise SinkError(f"{refusal}; it refuses every point") from refusal

    async def _send(self, points: list[Point]) -> None:
        await self._call(self._writer.write, bucket=self._bucket, record=points, write_precision=WritePrecision.MS)

    async def _call(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        with sink_errors(self._url):
            return await asyncio.to_thread(function, *arguments, **keywords)


class _RefusedError(SinkError):
    """The server refuses what it was sent."""


@contextmanager
def sink_errors(url: str, needed: str = "") -> Iterator[None]:
    """Whatever goes wrong with the server or on the way to it is a `SinkError`. needed: what the user has to have for it."""
    hint = f"; {needed}" if needed else ""
    try:
        yield
    except ApiException as error:
        # The body may hold what was sent, never the token: that is in a request header.
        reason = f"InfluxDB {url} answered {error.status} {error.reason}: {str(error.body)[:300]}{hint}"
        if error.status in REFUSALS:
            raise _RefusedError(reason) from error
        raise SinkError(reason, retry_after(error.headers)) from error
    except InfluxDBError as error:
        # The client's own: a token for a bucket does not see the organisation.
        raise SinkError(f"InfluxDB {url}: {error}{hint}") from error
    except ValueError:
        # Not in its words, and no cause: a header that cannot be sent is quoted, the token's too.
        raise SinkError(f"InfluxDB {url}: the request cannot be sent; check FVQ_INFLUX_TOKEN and FVQ_INFLUX_URL") from None
    except (HTTPError, OSError) as error:
        raise SinkError(f"InfluxDB {url} cannot be reached: {type(error).__name__}; check FVQ_INFLUX_URL") from error


def retry_after(headers: Mapping[str, str] | None) -> float:
    """Seconds that a server asks to be left alone, 0 where it says none; InfluxDB sends seconds, never a date."""
    try:
        return max(0.0, float((headers or {}).get("Retry-After", 0.0)))
    except ValueError:
        return 0.0


def to_point(score: SegmentScore) -> Point:
    """One score as a point."""
    point = (
        Point(MEASUREMENT)
        .tag("stream_id", score.stream_id)
        .tag("rendition", score.rendition or "default")
        .tag("status", score.status)
    )
    if score.model:
        point.tag("model", f"{score.model.name}@{score.model.version}")
    point.time(score.start, WritePrecision.MS).field("segment_id", score.segment_id)
    point.field("sequence", score.sequence).field("duration", float(score.duration))
    for name, value in (
        ("score", score.score),
        ("uncertainty", score.uncertainty),
        ("level", score.level),
        ("reason", score.reason),
    ):
        if value is not None:
            point.field(name, value)
    if score.faces:
        point.field("faces", score.faces.count).field("face_area", float(score.faces.area))
    for name, value in (score.signals.model_dump() if score.signals else {}).items():
        point.field(name, float(value))
    for level, probability in (score.level_probs or {}).items():
        point.field(f"p_{level}", float(probability))
    return point
