"""One stream's quality, from InfluxDB: its score by rendition, how sure the model is, the signals, the last segments."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.models import dashboard as models
from panels import INFLUXDB, NO_PROGRAM, asks_influxdb, board, points, rows, scores, series, wall

CHOSEN = "r.stream_id == ${stream:json}"
"""As JSON, so that a quote in an id ends no string."""

STREAMS = (
    'import "influxdata/influxdb/schema"\n'
    'schema.tagValues(bucket: v.defaultBucket, tag: "stream_id", start: v.timeRangeStart)\n'
    f"  |> filter(fn: (r) => r._value {NO_PROGRAM})"
)

SIGNALS = {
    "blur": "Share of fine detail's contrast that is lost: 0 sharp, 1 none left. 99 of 100 clean pictures: up to 0.6.",
    "blockiness": "Strength of the coding grid, relative to the mean step of pixels. 99 of 100 clean pictures: up to 0.15.",
    "noise": "Standard deviation of noise in flat parts, 8-bit levels, at 360 lines. 99 of 100 clean pictures: up to 3.5.",
    "luma": "Mean luma of the picture, 8-bit levels. 98 of 100 clean pictures: 19 to 200.",
    "contrast": "Standard deviation of luma, 8-bit levels. 98 of 100 clean pictures: 17 to 83.",
    "black": "Share of black pixels.",
    "freeze": "Share of the time in which the picture stands still.",
    "face_area": "Share of the picture under the largest face.",
}
"""What each signal says, and how it is in clean pictures (docs/signals.md)."""


def course(function: str = "mean", field: str = "score") -> str:
    """Flux: a field of the stream over time, a line for each rendition whatever model scored it."""
    return scores(
        f"aggregateWindow(every: v.windowPeriod, fn: {function}, createEmpty: false)",
        'group(columns: ["rendition"])',
        'sort(columns: ["_time"])',
        'keep(columns: ["_time", "_value", "rendition"])',
        field=field,
        of=CHOSEN,
    )


def last(field: str, columns: str) -> str:
    """Flux: the newest segments with a field, whatever the rendition. columns: what is shown of each."""
    newest = ("group()", 'sort(columns: ["_time"], desc: true)', "limit(n: 50)")
    return scores(*newest, f"keep(columns: [{columns}])", field=field, of=CHOSEN)


def dashboard() -> boards.Dashboard:
    """The dashboard."""
    # The SDK's query of a variable is an object of Prometheus' shape; InfluxDB's is the text.
    stream = boards.QueryVariable("stream").label("Stream").datasource(INFLUXDB).query(STREAMS)
    stream.allow_custom_value(False).refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(
        models.VariableSort.ALPHABETICAL_ASC
    )
    panels = [
        asks_influxdb(points("Score", "Means, a line for each rendition.", 12), (course(), "")),
        asks_influxdb(
            points("Worst and surest", "The lowest score of each step, and the model's expected error in points.", 12),
            (course("min"), "lowest"),
            (course(field="uncertainty"), "expected error"),
        ),
        *(
            asks_influxdb(series(name.replace("_", " "), meaning=meaning, width=6), (course(field=name), ""))
            for name, meaning in SIGNALS.items()
        ),
        asks_influxdb(rows("Last scores"), (last("score", '"_time", "rendition", "model", "_value"'), "")),
        asks_influxdb(
            rows("Last skipped segments", "Why a segment has no score."), (last("reason", '"_time", "rendition", "_value"'), "")
        ),
    ]
    made = board("fvq-stream", "fvq: one stream", "The course of one stream and what could explain it.")
    made.with_variable(stream).with_variable(wall())
    made.link(boards.DashboardLink("the wall").type(models.DashboardLinkType.LINK).url("${wall}/streams/${stream:percentencode}"))
    for panel in panels:
        made.with_panel(panel)
    return made
