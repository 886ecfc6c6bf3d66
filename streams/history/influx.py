"""The history in InfluxDB 2.x. The schema is that of `streams/sinks/influx.py`.

A point has no address of the media, no labels and no name of the small model: scores from here have `uri` "" and no labels.

Values go to the server beside the query, as options of Flux with the names `wanted_...`, and never into its text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from influxdb_client import InfluxDBClient
from influxdb_client.client.flux_table import FluxRecord
from pydantic import ValidationError

from streams.errors import HistoryError, SinkError
from streams.events import FaceSummary, ModelRef, SecondOpinion, SegmentScore, Signals
from streams.events.base import EPOCH
from streams.history.base import MILLISECOND, QUERY_SECONDS, Bucket, check_limit, check_range, step
from streams.sinks.influx import MEASUREMENT, InfluxBucket, renew_token, sink_errors

NO_RENDITION = "default"
"""What the sink writes where an event names no rendition."""

POINTS = f"""
points = (field) => from(bucket: wanted_bucket)
    |> range(start: wanted_start, stop: wanted_stop)
    |> filter(fn: (r) => r._measurement == "{MEASUREMENT}" and r._field == field and r.stream_id == wanted_stream)
"""

ALL_POINTS = POINTS.replace("r._field == field and ", "").replace("(field)", "()")

ONE_RENDITION = "|> filter(fn: (r) => r.rendition == wanted_rendition)"

COURSE = """
scored = (field) => points(field: field) RENDITION |> filter(fn: (r) => r.status == "scored")
windows = (tables=<-, fn) => tables
    |> aggregateWindow(every: wanted_step, offset: wanted_offset, fn: fn, createEmpty: false, timeSrc: "_start")
    |> keep(columns: ["_time", "_value", "rendition", "model"])
scored(field: "score") |> windows(fn: mean) |> yield(name: "mean")
scored(field: "score") |> windows(fn: min) |> yield(name: "low")
scored(field: "score") |> windows(fn: max) |> yield(name: "high")
scored(field: "score") |> windows(fn: count) |> yield(name: "count")
scored(field: "uncertainty") |> windows(fn: mean) |> yield(name: "uncertainty")
"""
"""Windows of each series: the server makes them while it reads, six times as fast as after a group() over models. `_joined`
makes one line of them, which does not break where another model is promoted."""

STREAM_IDS = f"""
import "influxdata/influxdb/schema"
schema.tagValues(
    bucket: wanted_bucket, tag: "stream_id", start: wanted_start, stop: wanted_stop,
    predicate: (r) => r._measurement == "{MEASUREMENT}" and r._field == "segment_id",
)
"""

NEWEST = """
points(field: "segment_id") RENDITION |> group() |> keep(columns: ["_time"])
    |> sort(columns: ["_time"], desc: true) |> limit(n: wanted_limit)
"""

PLACES = """
points(field: "segment_id") RENDITION |> filter(fn: (r) => r._value == wanted_segment) |> group() |> keep(columns: ["_time"])
"""

WHOLE = 'points() RENDITION |> pivot(rowKey: ["_time"], columnKey: ["_field"], valueColumn: "_value")'

FIRST_LOOK = timedelta(minutes=10)
"""The newest segments are looked for in the range's last 10 minutes first, then in 12 times as much, and so on: a stream has
1,300,000 of them in a month."""

LOOK_FURTHER = 12


class InfluxHistory:
    """Reads the bucket of scores. Its token has to read that bucket."""

    def __init__(self, bucket: InfluxBucket) -> None:
        self._url, self._bucket, self._place = bucket.url, bucket.bucket, bucket
        milliseconds = int(QUERY_SECONDS * 1000)
        self._client = InfluxDBClient(bucket.url, bucket.token, org=bucket.org, timeout=milliseconds, enable_gzip=True)

    async def stream_ids(self, start: datetime, end: datetime) -> list[str]:
        """See `History.stream_ids`. The server answers by its index, which knows whole days: some may be from just outside."""
        check_range(start, end)
        return sorted({record.get_value() for record in await self._ask(STREAM_IDS, "", None, start, end)})

    async def course(self, stream_id: str, rendition: str | None, start: datetime, end: datetime, points: int) -> list[Bucket]:
        """See `History.course`."""
        length = step(start, end, points)
        # Flux's windows begin at multiples of their length since 1970.
        values = {"wanted_step": length, "wanted_offset": (start - EPOCH) % length}
        windows: dict[tuple[datetime, str, str], dict[str, Any]] = {}
        for record in await self._ask(POINTS + COURSE, stream_id, rendition, start, end, **values):
            window = record.get_time(), record.values["rendition"], record.values["model"]
            windows.setdefault(window, {})[record.values["result"]] = record.get_value()
        buckets: dict[datetime, list[dict[str, Any]]] = {}
        for (time, _, _), window_values in windows.items():
            buckets.setdefault(time, []).append(window_values)
        return [_joined(time, parts) for time, parts in sorted(buckets.items())]

    async def segment(self, stream_id: str, segment_id: str, rendition: str | None = None) -> SegmentScore | None:
        """See `History.segment`. A segment is looked for in the past up to tomorrow, the newest first."""
        end = datetime.now(UTC) + timedelta(days=1)
        for start in _further_back(EPOCH, end):
            places = await self._ask(POINTS + PLACES, stream_id, rendition, start, end, wanted_segment=segment_id)
            if places:
                time = max(record.get_time() for record in places)
                scores = await self._scores(stream_id, rendition, time, time + MILLISECOND)
                return next((score for score in scores if score.segment_id == segment_id), None)
        return None

    async def segments(
        self, stream_id: str, rendition: str | None, start: datetime, end: datetime, limit: int
    ) -> list[SegmentScore]:
        """See `History.segments`. A segment that two models answered is there once."""
        check_range(start, end)
        check_limit(limit)
        wanted = limit
        while True:
            newest: list[FluxRecord] = []
            for begin in _further_back(start, end):
                newest = await self._ask(POINTS + NEWEST, stream_id, rendition, begin, end, wanted_limit=wanted)
                if len(newest) == wanted:
                    break
            if not newest:
                return []
            scores = await self._scores(stream_id, rendition, min(record.get_time() for record in newest), end)
            if len(scores) >= limit or len(newest) < wanted:
                return scores[:limit]
            wanted *= 2  # some segments have several points

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.to_thread(self._client.close)

    async def _scores(self, stream_id: str, rendition: str | None, start: datetime, end: datetime) -> list[SegmentScore]:
        """The segments of a range, newest first, each once: its score rather than that it was skipped."""
        records = await self._ask(ALL_POINTS + WHOLE, stream_id, rendition, start, end)
        records.sort(key=lambda record: (record.get_time(), record.values["status"] == "scored"), reverse=True)
        scores: dict[tuple[str, str], SegmentScore] = {}
        for record in records:
            key = record.values["rendition"], record.values["segment_id"]
            try:
                scores.setdefault(key, _score(record.values))
            except (KeyError, ValidationError) as error:
                raise HistoryError(f"InfluxDB {self._url}, bucket {self._bucket}: a point is no score: {error}") from error
        return list(scores.values())

    async def _ask(
        self, query: str, stream_id: str, rendition: str | None, start: datetime, end: datetime, **values: Any
    ) -> list[FluxRecord]:
        """The records of a query, in any order; `RENDITION` in its text stands for the filter by rendition."""
        values |= {"wanted_bucket": self._bucket, "wanted_stream": stream_id, "wanted_start": start, "wanted_stop": end}
        if rendition is not None:
            values["wanted_rendition"] = rendition or NO_RENDITION
        text = query.replace("RENDITION", ONE_RENDITION if rendition is not None else "")
        try:
            async with asyncio.timeout(QUERY_SECONDS):
                tables = await asyncio.to_thread(self._query, text, values)
        except SinkError as error:
            renew_token(self._client, self._place, error)
            raise HistoryError(str(error)) from error
        except TimeoutError as error:
            raise HistoryError(f"InfluxDB {self._url} did not answer within {QUERY_SECONDS:g} s: ask for less") from error
        return [record for table in tables for record in table.records]

    def _query(self, text: str, values: Mapping[str, Any]) -> Any:
        with sink_errors(self._url):
            return self._client.query_api().query(text, params=dict(values))


def _further_back(start: datetime, end: datetime) -> Iterator[datetime]:
    """Where a search begins: shortly before the end, then earlier and earlier, at last at the start."""
    span = FIRST_LOOK
    while span < end - start:
        yield end - span
        span *= LOOK_FURTHER
    yield start


def _joined(time: datetime, windows: Sequence[Mapping[str, Any]]) -> Bucket:
    """One bucket of the windows of several series that begin at the same time."""
    count = sum(window["count"] for window in windows)

    def mean(name: str) -> float | None:
        if any(window.get(name) is None for window in windows):
            return None
        return sum(window[name] * window["count"] for window in windows) / count

    low, high = min(window["low"] for window in windows), max(window["high"] for window in windows)
    return Bucket(time, mean("mean"), low, high, count, mean("uncertainty"))


def _score(values: Mapping[str, Any]) -> SegmentScore:
    """The score of a point, whose tags and fields are columns of a record."""
    model = _model(values.get("model"))
    small, score = values.get("small_score"), values.get("score")
    replaced = small is not None and small != score
    signals = {name: values[name] for name in Signals.model_fields if values.get(name) is not None}
    return SegmentScore(
        stream_id=values["stream_id"],
        segment_id=values["segment_id"],
        sequence=values["sequence"],
        uri="",
        start=values["_time"],
        duration=values["duration"],
        rendition=values["rendition"] if values["rendition"] != NO_RENDITION else None,
        status=values["status"],
        reason=values.get("reason"),
        score=score,
        level=values.get("level"),
        level_probs={name[2:]: value for name, value in values.items() if name.startswith("p_") and value is not None} or None,
        uncertainty=values.get("uncertainty"),
        faces=FaceSummary(count=values["faces"], area=values["face_area"]) if values.get("faces") is not None else None,
        signals=Signals(**signals) if signals else None,
        model=model,
        tier="glance" if values.get("rests_on") else None,
        rests_on=values.get("rests_on"),
        shallow=SecondOpinion(score=small, model=ModelRef(name="", version="")) if replaced else None,
    )


def _model(name: str | None) -> ModelRef | None:
    if name is None:
        return None
    model, _, version = name.partition("@")
    return ModelRef(name=model, version=version)
