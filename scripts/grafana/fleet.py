"""The fleet's quality, from InfluxDB: which streams are bad, and how the fleet as a whole moves."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as boards
from panels import NO_PROGRAM, asks_influxdb, board, points, rows, scores, series, stream_links, wall

PER_STREAM = "aggregateWindow(every: v.windowPeriod, fn: mean, createEmpty: false)"
"""First of each series: InfluxDB makes these windows while it reads."""

COUNTED = scores(
    "aggregateWindow(every: v.windowPeriod, fn: count, createEmpty: false)",
    'map(fn: (r) => ({r with skipped: if r.status == "skipped" then r._value else 0}))',
    'group(columns: ["_time"])',
    "reduce(identity: {all: 0, skipped: 0}, fn: (r, accumulator) => "
    "({all: accumulator.all + r._value, skipped: accumulator.skipped + r.skipped}))",
    "map(fn: (r) => ({r with _value: float(v: r.skipped) / float(v: r.all)}))",
    "group()",
    'keep(columns: ["_time", "_value"])',
    'sort(columns: ["_time"])',
    field="sequence",
)


def in_time(*steps: str, field: str = "score", by: str = "") -> str:
    """Flux: steps over all streams at each step of time. by: a tag that is kept apart."""
    tags = f', "{by}"' if by else ""
    rest = (
        f'group(columns: ["{by}"])' if by else "group()",
        'sort(columns: ["_time"])',
        f'keep(columns: ["_time", "_value"{tags}])',
    )
    *before, last = steps
    return scores(PER_STREAM, *before, f'group(columns: ["_time"{tags}])', last, *rest, field=field)


def dashboard() -> boards.Dashboard:
    """The dashboard."""
    is_text = f"filter(fn: (r) => r.stream_id {NO_PROGRAM})"
    steps = (
        is_text,
        'group(columns: ["stream_id", "rendition"])',
        "mean()",
        "group()",
        'sort(columns: ["_value"])',
        "limit(n: 20)",
    )
    worst = rows("Worst streams, 5 minutes", "Means of the scores. A stream that is not scored is not here: see the wall.")
    asks_influxdb(worst, (scores(*steps, start="-5m"), "")).min(0).max(100).decimals(0)
    worst.override_by_name("stream_id", [stream_links("${__value.raw:percentencode}")])
    quantiles = {"0.05": "5 % are below", "0.5": "median", "0.95": "5 % are above"}
    is_poor = "map(fn: (r) => ({r with _value: if r._value < 40.0 then 1.0 else 0.0}))"
    panels = [
        worst,
        asks_influxdb(
            points("Scores of all streams", "The fleet falls as a whole after a bad model, not after a bad stream.", 12),
            *((in_time(f"quantile(q: {q})"), name) for q, name in quantiles.items()),
        ),
        asks_influxdb(series("Share of streams below 40", "percentunit").max(1), (in_time(is_poor, "mean()"), "below 40")),
        asks_influxdb(series("Share of segments skipped", "percentunit").max(1), (COUNTED, "skipped")),
        asks_influxdb(
            series("Renditions that are scored", meaning="By model: after a promotion one takes over from the other."),
            (in_time("count()", by="model"), ""),
        ),
        asks_influxdb(
            points("Scores by model", "Two models differ on the same fleet: is it us?", 12), (in_time("mean()", by="model"), "")
        ),
        asks_influxdb(
            series("Expected error of the scores", "short", "Mean over all segments, in points of the score.", 12),
            (in_time("mean()", field="uncertainty"), "points"),
        ),
    ]
    made = board("fvq-fleet", "fvq: quality of the fleet", "Which streams look bad, from the scores in InfluxDB.")
    made.with_variable(wall())
    for panel in panels:
        made.with_panel(panel)
    return made
