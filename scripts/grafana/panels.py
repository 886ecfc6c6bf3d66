"""What the dashboards are made of: queries of both data sources, panels, variables, links."""

from __future__ import annotations

from typing import Any

from grafana_foundation_sdk.builders import dashboard as boards
from grafana_foundation_sdk.builders import prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog import builder as cogbuilder
from grafana_foundation_sdk.cog import variants as cogvariants
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import prometheus as prometheus_models

NO_PROGRAM = "!~ /[$]\\{/"
"""Flux: of a stream's id, that it is text. Flux runs what stands in `${...}` of a string, and ids come from outside: such an id
is never offered and never linked, because a dashboard would put it into a query."""

PROMETHEUS = models.DataSourceRef("prometheus", "prometheus")
INFLUXDB = models.DataSourceRef("influxdb", "influxdb")


class _FluxQuery(cogvariants.Dataquery):
    """A query in Flux: the SDK has none for InfluxDB."""

    def __init__(self, query: str, ref_id: str) -> None:
        self.query, self.ref_id = query, ref_id

    def to_json(self) -> dict[str, object]:
        return {"refId": self.ref_id, "query": self.query, "datasource": INFLUXDB}


class _Built(cogbuilder.Builder[Any]):
    """Something that is built already."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def build(self) -> Any:
        return self._value


def scores(*steps: str, field: str = "score", of: str = "", start: str = "v.timeRangeStart") -> str:
    """A Flux query of a field of the scores. of: a further condition on `r`. start: of the range, up to now."""
    condition = f'r._measurement == "segment_score" and r._field == "{field}"' + (f" and {of}" if of else "")
    stop = ", stop: v.timeRangeStop" if start == "v.timeRangeStart" else ""
    lines = ["from(bucket: v.defaultBucket)", f"range(start: {start}{stop})", f"filter(fn: (r) => {condition})", *steps]
    return "\n  |> ".join(lines)


def rate(metric: str, by: str = "", selector: str = "") -> str:
    """PromQL: the sum of a counter's rates. by: labels. selector: in braces."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{selector}[$__rate_interval]))"


def quantile(q: float, histogram: str, by: str = "") -> str:
    """PromQL: a quantile of a histogram."""
    return f"histogram_quantile({q:g}, {rate(histogram + '_bucket', f'le, {by}' if by else 'le')})"


def mean(histogram: str) -> str:
    """PromQL: the mean of a histogram."""
    return f"{rate(histogram + '_sum')} / {rate(histogram + '_count')}"


def asks_prometheus(panel: Any, *queries: tuple[str, str], instant: bool = False) -> Any:
    """The panel with its queries: expression and legend."""
    panel.datasource(PROMETHEUS)
    for letter, (expression, legend) in zip("ABCDEFGH", queries, strict=False):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(letter).datasource(PROMETHEUS)
        panel.with_target(query.instant().format(prometheus_models.PromQueryFormat.TABLE) if instant else query.range())
    return panel


def asks_influxdb(panel: Any, *queries: tuple[str, str]) -> Any:
    """The panel with its queries: Flux, and the name of what it gives ('' leaves Grafana's)."""
    panel.datasource(INFLUXDB)
    for letter, (query, name) in zip("ABCDEFGH", queries, strict=False):
        panel.with_target(_Built(_FluxQuery(query, letter)))
        if name:
            panel.override_by_query(letter, [models.DynamicConfigValue("displayName", name)])
    return panel


def series(title: str, unit: str = "short", meaning: str = "", width: int = 8) -> timeseries.Panel:
    """A panel of lines from 0 on."""
    return timeseries.Panel().title(title).description(meaning).unit(unit).span(width).height(8).min(0)


def points(title: str, meaning: str = "", width: int = 8) -> timeseries.Panel:
    """A panel of lines from 0 to 100, as scores are."""
    return series(title, "short", meaning, width).max(100).decimals(0)


def rows(title: str, meaning: str = "", width: int = 12) -> table.Panel:
    """A panel with a table."""
    return table.Panel().title(title).description(meaning).span(width).height(8)


def figure(title: str, unit: str, meaning: str = "") -> stat.Panel:
    """A panel with one number."""
    return stat.Panel().title(title).description(meaning).unit(unit).span(4).height(4)


def stream_links(stream: str) -> models.DynamicConfigValue:
    """The links of a cell that names a stream: its dashboard, and the wall. stream: Grafana's name for the cell's value."""
    board = {"title": "this stream", "url": f"/d/fvq-stream?var-stream={stream}&${{__url_time_range}}"}
    wall = {"title": "on the wall", "url": f"${{wall}}/streams/{stream}", "targetBlank": True}
    return models.DynamicConfigValue("links", [board, wall])


def wall() -> boards.TextBoxVariable:
    """The address of the wall, which Grafana cannot know: whoever looks changes it, or the operator in this file."""
    return boards.TextBoxVariable("wall").label("Wall").default_value("http://127.0.0.1:8060")


def board(uid: str, title: str, meaning: str) -> boards.Dashboard:
    """A dashboard without panels."""
    others = boards.DashboardLink("fvq").type(models.DashboardLinkType.DASHBOARDS).tags(["fvq"]).as_dropdown(True).keep_time(True)
    made = boards.Dashboard(title).uid(uid).description(meaning).tags(["fvq"]).readonly().refresh("30s").time("now-3h", "now")
    return made.timezone("utc").link(others)
