"""The fleet in numbers: for the strip at the foot of the page, `/summary` and `/health`."""

from __future__ import annotations

from collections import Counter

import numpy as np
from pydantic import BaseModel, Field

from streams.web.labels import LabelFilter
from streams.web.live import Live
from streams.web.rendition import level_of_score
from streams.web.stream import NO_ALERT

NOT_NOW = ("stale", "ended", "no-segments", "unknown")
"""States in which a score says nothing about now."""


class Summary(BaseModel):
    """Flat numbers, so that any monitor can read one of them by its name."""

    streams: int = Field(description="Streams that are known.")
    live: int = Field(description="Streams whose score is of now.")
    bad: int = Field(description="Live streams with a smoothed score under 20 points.")
    poor: int = Field(description="Live streams from 20 to under 40 points.")
    fair: int = Field(description="Live streams from 40 to under 60 points.")
    good: int = Field(description="Live streams from 60 to under 80 points.")
    excellent: int = Field(description="Live streams from 80 points on.")
    alerting: int = Field(description="Streams with an alert that nobody has acknowledged.")
    acknowledged: int = Field(description="Streams whose alerts are all acknowledged.")
    alerts: int = Field(description="Alerts that fire.")
    black: int = Field(description="Streams whose worst alert is `black`.")
    frozen: int = Field(description="Streams whose worst alert is `frozen`.")
    silent: int = Field(description="Streams whose worst alert is `silent`.")
    no_segments: int = Field(description="Streams with an alert `no-segments`; they count under no other kind.")
    no_face: int = Field(description="Streams whose worst alert is `no-face`.")
    skipped: int = Field(description="Streams whose last segment was skipped.")
    stale: int = Field(description="Streams without a score for three segments.")
    ended: int = Field(description="Streams that have ended.")
    score_median: float | None = Field(description="Median of the live streams' smoothed scores, points.")
    scored_per_second: float = Field(description="Segments a second of all streams, over the last minute.")
    skipped_share: float | None = Field(description="Share of segments that were skipped, 0-1, over the last minute.")
    dead_letters_per_minute: float | None = Field(description="Over the last minute; null where it is not known.")
    lag_p95: float | None = Field(description="95th percentile of the seconds from a segment's end to its score.")
    models: dict[str, int] = Field(description="Number of streams by the model of their last score, name@version.")


def summary_of(live: Live, labels: LabelFilter, now: float) -> Summary:
    """The figures of the streams that a filter admits. Rates are of all streams: only those with all are counted by time."""
    rows = [row for row in live.rows(now) if labels.admits(row.labels)] if labels else list(live.rows(now))
    present = [row for row in rows if row.state not in NOT_NOW]
    states = Counter(row.state for row in rows)
    kinds = Counter(row.kind for row in rows)  # a state is "black" by one segment, and "stale" over an alert
    levels = Counter(level_of_score(row.smoothed) for row in present)
    scores = [row.smoothed for row in present if row.smoothed is not None]
    lags = [row.lag for row in present if row.lag is not None]
    scored, skipped_share = live.pulse.rates(now)
    letters = live.pulse.letters_per_minute(now)
    return Summary(
        streams=len(rows),
        live=len(present),
        bad=levels["bad"],
        poor=levels["poor"],
        fair=levels["fair"],
        good=levels["good"],
        excellent=levels["excellent"],
        alerting=sum(1 for row in rows if row.rank < NO_ALERT),
        acknowledged=sum(1 for row in rows if row.acked),
        alerts=sum(len(row.alerts) for row in rows),
        black=kinds["black"],
        frozen=kinds["frozen"],
        silent=kinds["silent"],
        no_segments=kinds["no-segments"],
        no_face=kinds["no-face"],
        skipped=states["skipped"],
        stale=states["stale"],
        ended=states["ended"],
        score_median=round(float(np.median(scores)), 1) if scores else None,
        scored_per_second=round(scored, 1),
        skipped_share=None if skipped_share is None else round(skipped_share, 4),
        dead_letters_per_minute=None if letters is None else round(letters, 1),
        lag_p95=round(float(np.percentile(lags, 95)), 2) if lags else None,
        models=dict(Counter(row.model for row in present if row.model)),
    )
