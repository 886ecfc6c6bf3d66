"""Scores in InfluxDB 2.x, through influxdb-client: the schema (for users: docs/sinks.md), and how points are written.

Measurement `segment_score`. InfluxDB identifies a point by its tags and its time, so a repeated score overwrites the first:

- time: the segment's start, milliseconds. Two segments of one rendition of one stream cannot start at the same time.
- tags: `stream_id`, `rendition` (`default` where there is none), `model` (`name@version`; none where the segment was
  skipped) and `status`. Number of series: streams x renditions x (models + 1). The operator chooses all these names, and
  they are few.
- fields: segment_id, sequence, duration; for a scored segment also score, uncertainty, level, `p_<level>`, faces, face_area
  each signal, bitrate and qp, audio_present, and the numbers of its sound that are known as `audio_<name>`; for one that had
  only a glance rests_on; for a skipped segment reason.

`segment_id`, `uri` and labels are no tags, because each new value would make a new series without end. A segment has two
points if two models answered it, or if it was scored before a restart and skipped after it. Both points have the same
`segment_id`, so a query that counts segments has to count each id once.
"""

from __future__ import annotations

import asyncio
import csv
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.exceptions import InfluxDBError
from influxdb_client.client.flux_csv_parser import FluxCsvParserException, FluxQueryException
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from scorer import http_client
from streams.errors import SettingsError, SinkError
from streams.events import SegmentScore
from streams.events.base import EPOCH
from streams.sinks.base import Rejected, Sink
from streams.sinks.influx_hourly import HOUR, past_flux, runs_of
from streams.text import counted

log = logging.getLogger(__name__)
MEASUREMENT = "segment_score"
PROBE_MEASUREMENT = "fvq_probe"
TIMEOUT_MS = 10_000

DERIVE_MS = 120_000
"""Longest time of a query that computes hourly values."""

WRITE_POINTS = 1000
"""Points in one request: about 600 bytes each before compression, far below the 50 MB that a server accepts."""

UNAUTHORIZED = 401

SOUND = ("loudness", "peak", "silent", "clipped", "offset_ms")
"""The numbers of a score's `audio`."""

REFUSALS = {400, 413, 422}
"""HTTP statuses for points that are wrong: malformed line, request too large, field of another type. Trying again does not
help."""


@dataclass(frozen=True)
class InfluxBucket:
    """The bucket that scores are written to, and how to reach it. read_token: gives the token that its file has by now."""

    url: str
    token: str = field(repr=False)
    org: str
    bucket: str
    read_token: Callable[[], str] | None = field(default=None, repr=False, compare=False)

    @property
    def hourly(self) -> str:
        """Name of the bucket with the hourly values."""
        return f"{self.bucket}_hourly"


class InfluxSink(Sink):
    """Writes scores as points into one bucket. The buffer holds the scores since the last flush: one batch of the worker."""

    def __init__(self, bucket: InfluxBucket) -> None:
        self._url, self._bucket, self._place = bucket.url, bucket.bucket, bucket
        self._client = InfluxDBClient(bucket.url, bucket.token, org=bucket.org, timeout=TIMEOUT_MS, enable_gzip=True)
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self._waiting: list[SegmentScore] = []
        # Of a flush that failed half-way: scores that are written already, and refused ones among them.
        self._written = 0
        self._rejected: list[Rejected] = []

    def add(self, score: SegmentScore) -> None:
        """Buffer a score."""
        self._waiting.append(score)

    async def flush(self) -> list[Rejected]:
        """Write the buffer and wait for the server's acknowledgement; returns the scores that the server refuses."""
        while self._waiting:
            chunk = self._waiting[:WRITE_POINTS]
            self._rejected += await self._write(chunk, self._written)
            del self._waiting[: len(chunk)]
            self._written += len(chunk)
        rejected, self._rejected, self._written = self._rejected, [], 0
        return rejected

    async def check(self) -> str:
        """Ask the server for the bucket."""
        bucket = await self._call(self._client.buckets_api().find_bucket_by_name, self._bucket)
        if bucket is None:
            raise SinkError(
                f"InfluxDB {self._url}: no bucket {self._bucket!r} that this token may see; "
                "`fvq doctor --setup` creates it, or set FVQ_INFLUX_BUCKET"
            )
        return f"InfluxDB {self._url}, bucket {self._bucket}"

    async def derive(self, hours: Sequence[datetime]) -> str:
        """Compute the hourly values of hours that are over. The server's task computes the last two only."""
        if await self._call(self._client.buckets_api().find_bucket_by_name, self._place.hourly) is None:
            return f"no hourly values: no bucket {self._place.hourly} that this token may see"
        past = [hour for hour in hours if hour <= datetime.now(UTC) - HOUR]
        with InfluxDBClient(self._url, self._place.token, org=self._place.org, timeout=DERIVE_MS) as client:
            # Its token may have been read again since the start.
            client.api_client.set_default_header("Authorization", self._client.api_client.default_headers["Authorization"])
            for start, stop in runs_of(past):
                for query in past_flux(self._bucket, self._place.hourly, MEASUREMENT, start, stop):
                    await self._call(client.query_api().query, query)
        return f"the hourly values of {counted(len(past), 'hour')} are computed in bucket {self._place.hourly}"

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def _write(self, scores: Sequence[SegmentScore], place: int) -> list[Rejected]:
        """Write scores; returns those that the server refuses. place: index of the first score since the last flush.

        A refusal does not name the wrong point: halving the scores again and again finds it, and writes the others.
        """
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
        """Raise `SinkError` where the server refuses a correct point too: then the refused score is not at fault.

        A broken proxy, for example, answers 400 to every request. Without this check every score would be dropped.
        """
        probe = Point(PROBE_MEASUREMENT).field("ok", 1).time(int(time.time()) * 1000, WritePrecision.MS)
        try:
            await self._send([probe])
        except _RefusedError:
            raise SinkError(f"{refusal}; it refuses every point") from refusal

    async def _send(self, points: list[Point]) -> None:
        await self._call(self._writer.write, bucket=self._bucket, record=points, write_precision=WritePrecision.MS)

    async def _call(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            with sink_errors(self._url):
                return await asyncio.to_thread(function, *arguments, **keywords)
        except SinkError as error:
            renew_token(self._client, self._place, error)
            raise


class _RefusedError(SinkError):
    """The server refuses the points of a request."""


@contextmanager
def sink_errors(url: str, needed: str = "") -> Iterator[None]:
    """Turns every error of the server and of the connection into a `SinkError`. needed: what the user needs, for the message."""
    hint = f"; {needed}" if needed else ""
    try:
        yield
    except ApiException as error:
        if error.status == UNAUTHORIZED and not needed:
            hint = "; it does not know the token of FVQ_INFLUX_TOKEN or FVQ_INFLUX_TOKEN_FILE"
        # The body may repeat the points, but never the token: the token is in a header of the request.
        reason = f"InfluxDB {url} answered {error.status} {error.reason}: {str(error.body)[:300]}{hint}"
        if error.status in REFUSALS:
            raise _RefusedError(reason) from error
        raise SinkError(reason, retry_after(error.headers)) from error
    except InfluxDBError as error:
        # Raised by the client itself, for example where the token may not see the organisation.
        raise SinkError(f"InfluxDB {url}: {error}{hint}") from error
    except FluxQueryException as error:
        # A query that fails after its first rows has the status 200 by then.
        raise SinkError(f"InfluxDB {url}: the query failed: {str(error.message)[:300]}{hint}") from error
    except (FluxCsvParserException, csv.Error, IndexError) as error:
        # The client's parser raises these, for example where a proxy answers a query with a page to sign in.
        raise SinkError(f"InfluxDB {url}: the answer is no table of a query; check FVQ_INFLUX_URL{hint}") from error
    except ValueError:
        # Without the original message and cause: they quote the header that cannot be sent, which may hold the token.
        raise SinkError(f"InfluxDB {url}: the request cannot be sent; check FVQ_INFLUX_TOKEN and FVQ_INFLUX_URL") from None
    except (HTTPError, OSError) as error:
        raise SinkError(f"InfluxDB {url} cannot be reached: {type(error).__name__}; check FVQ_INFLUX_URL") from error


def renew_token(client: InfluxDBClient, bucket: InfluxBucket, error: SinkError) -> None:
    """Where the server refused the token: let the client use the one that its file has by now, from the next request on."""
    refusal = error.__cause__
    if bucket.read_token is None or not isinstance(refusal, ApiException) or refusal.status != UNAUTHORIZED:
        return
    try:
        header = f"Token {bucket.read_token()}"
    except SettingsError as reason:
        log.warning("the InfluxDB token cannot be read again: %s", reason)
        return
    if client.api_client.default_headers.get("Authorization") != header:
        client.api_client.set_default_header("Authorization", header)
        log.info("the InfluxDB token is read again, because the server refused the one before")


def retry_after(headers: Mapping[str, str] | None) -> float:
    """Seconds that a server asks the client to wait, 0 without a `Retry-After` that can be read."""
    return http_client.retry_after((headers or {}).get("Retry-After", "")) or 0.0


def to_point(score: SegmentScore) -> Point:
    """The point for one score; the schema is at the top of this file."""
    point = (
        Point(MEASUREMENT)
        .tag("stream_id", score.stream_id)
        .tag("rendition", score.rendition or "default")
        .tag("status", score.status)
    )
    if score.model:
        point.tag("model", f"{score.model.name}@{score.model.version}")
    # Of a datetime the client computes the milliseconds as a float, one too few for every eighth of them.
    point.time((score.start - EPOCH) // timedelta(milliseconds=1), WritePrecision.MS).field("segment_id", score.segment_id)
    point.field("sequence", score.sequence).field("duration", float(score.duration))
    for name, value in (
        ("score", score.score),
        ("small_score", score.small_score),
        ("uncertainty", score.uncertainty),
        ("level", score.level),
        ("reason", score.reason),
        ("rests_on", score.rests_on),
    ):
        if value is not None:
            point.field(name, value)
    if score.faces:
        point.field("faces", score.faces.count).field("face_area", float(score.faces.area))
    for name, value in (score.signals.model_dump() if score.signals else {}).items():
        point.field(name, float(value))
    if score.bitstream:
        point.field("bitrate", float(score.bitstream.bitrate))
        if score.bitstream.qp_mean is not None:
            point.field("qp", float(score.bitstream.qp_mean))
    if score.audio:
        point.field("audio_present", score.audio.present)
        for name in SOUND:
            if (value := getattr(score.audio, name)) is not None:
                point.field(f"audio_{name}", float(value))
    for level, probability in (score.level_probs or {}).items():
        point.field(f"p_{level}", float(probability))
    return point
