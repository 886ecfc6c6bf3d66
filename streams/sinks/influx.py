"""Scores in InfluxDB 2.x, through influxdb-client.

Measurement `segment_score`; tags `stream_id`, `rendition`, `model`, `status`; time is the segment's start, so that a
repeated score overwrites itself. Fields: score, uncertainty, duration, sequence, segment_id, level, faces, face_area,
each signal and `p_<level>`. Labels are no tags: their values are free, and every new one would be a new series.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from influxdb_client import InfluxDBClient, Point, WritePrecision
from influxdb_client.client.write_api import SYNCHRONOUS
from influxdb_client.rest import ApiException
from urllib3.exceptions import HTTPError

from streams.events import SegmentScore
from streams.settings import Settings
from streams.sinks.base import Sink, SinkError

MEASUREMENT = "segment_score"
TIMEOUT_MS = 10_000


class InfluxSink(Sink):
    """Scores as points of one bucket."""

    def __init__(self, settings: Settings) -> None:
        assert settings.influx_url
        self._url = settings.influx_url
        self._bucket = settings.influx_bucket
        self._client = InfluxDBClient(
            settings.influx_url, settings.influx_secret(), org=settings.influx_org, timeout=TIMEOUT_MS, enable_gzip=True
        )
        self._writer = self._client.write_api(write_options=SYNCHRONOUS)
        self._waiting: list[SegmentScore] = []

    def add(self, score: SegmentScore) -> None:
        """Buffer a score."""
        self._waiting.append(score)

    async def flush(self) -> None:
        """Write the buffer; the server has acknowledged it when this returns."""
        if not self._waiting:
            return
        points = [to_point(score) for score in self._waiting]
        await self._call(self._writer.write, bucket=self._bucket, record=points, write_precision=WritePrecision.MS)
        self._waiting.clear()

    async def check(self) -> str:
        """Ask the server for the bucket."""
        found = await self._call(self._client.buckets_api().find_bucket_by_name, self._bucket)
        if found is None:
            raise SinkError(
                f"InfluxDB {self._url}: no bucket {self._bucket!r} that this token may see; create it or set FVQ_INFLUX_BUCKET"
            )
        return f"InfluxDB {self._url}, bucket {self._bucket}"

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def _call(self, function: Any, *arguments: Any, **keywords: Any) -> Any:
        try:
            return await asyncio.to_thread(function, *arguments, **keywords)
        except ApiException as error:
            # The body may hold what was sent, never the token: that is in a request header.
            raise SinkError(
                f"InfluxDB {self._url} answered {error.status} {error.reason}: {str(error.body)[:300]}",
                retry_after(error.headers),
            ) from error
        except (HTTPError, OSError) as error:
            raise SinkError(f"InfluxDB {self._url} cannot be reached: {type(error).__name__}; check FVQ_INFLUX_URL") from error


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
