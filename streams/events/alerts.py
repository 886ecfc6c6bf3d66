"""Alerts on `quality-alerts`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.events.base import Event, UtcTime

AlertKind = Literal["low-quality", "quality-drop", "black", "frozen", "no-segments"]


class QualityAlert(Event):
    """A problem of a stream started (`firing`) or ended (`resolved`). Key: `stream_id`.

    Delivered at least once: a repeated alert has the same `alert_id` and `state`, and the same content.
    """

    alert_id: str = Field(description="The same for `firing` and `resolved`; made from stream, rendition, kind and start.")
    stream_id: str
    rendition: str | None = None
    kind: AlertKind
    state: Literal["firing", "resolved"]
    started_at: UtcTime = Field(description="Start of the problem, event time; the alert fires somewhat later.")
    ended_at: UtcTime | None = Field(default=None, description="End of the problem, event time.")
    value: float = Field(
        description="The measured value: the smoothed score, the share of black or repeated pictures, or seconds of silence."
    )
    baseline: float | None = Field(default=None, description="The stream's usual score, points.")
    segment_id: str = Field(
        description="The segment that decided; for `no-segments` the last one before the silence or the first one after it."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="The stream's labels when the alert fired.")
