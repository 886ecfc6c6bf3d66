"""Alerts on `quality-alerts`, and what people say about them on `alert-acks`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from streams.events.base import Event, Name, UtcTime

AlertKind = Literal["low-quality", "quality-drop", "black", "frozen", "no-segments", "no-face", "silent"]

Severity = Literal["info", "warning", "critical"]
"""How urgent an alert is: nobody needs to act, somebody should look, somebody must act now."""


class SignalMove(Event):
    """One signal of a stream against what is usual for it."""

    name: str = Field(description="The signal's name in `segment-scores`.")
    value: float = Field(description="When the alert fired, in the signal's own unit.")
    usual: float | None = Field(
        default=None, description="The stream's usual value, in the same unit; not set where it is not known yet."
    )


class AlertCause(Event):
    """Where an alert's problem most likely comes from, and which signals say so."""

    where: Literal["source", "rendition", "network", "unknown"] = Field(
        description="source: what the encoders got. rendition: one rendition's own encoder. network: segments late or missing."
    )
    rendition: str | None = Field(default=None, description="The rendition whose encoder it is, for `rendition`.")
    signals: list[SignalMove] = Field(default_factory=list, max_length=16, description="What moved most, that first.")
    text: str = Field(default="", max_length=1000, description="The same as a sentence for people.")


class QualityAlert(Event):
    """A problem of a stream started (`firing`) or ended (`resolved`). Key: `stream_id`.

    Delivered at least once: a repeated alert has the same `alert_id` and `state`, and the same content.
    """

    alert_id: str = Field(description="The same for `firing` and `resolved`; made from stream, rendition, kind and start.")
    stream_id: str = Field(description="The channel.")
    rendition: str | None = Field(
        default=None, description="Which of the stream's encodings it is; not set where segments name none."
    )
    kind: AlertKind = Field(description="What is wrong.")
    state: Literal["firing", "resolved"] = Field(description="Whether the problem started or ended.")
    started_at: UtcTime = Field(description="Start of the problem, event time; the alert fires somewhat later.")
    ended_at: UtcTime | None = Field(default=None, description="End of the problem, event time.")
    value: float = Field(
        description="The measured value: the smoothed score, the share of black or repeated pictures or of silence, or seconds "
        "without segments or without a face."
    )
    baseline: float | None = Field(default=None, description="The stream's usual score, points.")
    segment_id: str = Field(
        description="The segment that decided; for `no-segments` the last one before the silence or the first one after it."
    )
    labels: dict[str, str] = Field(default_factory=dict, description="The stream's labels when the alert fired.")
    severity: Severity | None = Field(default=None, description="How urgent it is, by the policy.")
    threshold: float | None = Field(default=None, description="The limit that was crossed, in the unit of `value`.")
    summary: str = Field(default="", description="One sentence for people: what happened, and against which limit.")
    url: str | None = Field(default=None, description="The alert's page, where `FVQ_WEB_URL` is set.")
    cause: AlertCause | None = Field(
        default=None, description="Where it most likely comes from; `resolved` may know more than `firing`."
    )


class AlertAcknowledgement(Event):
    """Somebody has seen an alert: it is not told again. Key: `alert_id`; a tombstone takes it back.

    It ends with its alert, or at `until`.
    """

    alert_id: str = Field(min_length=1, max_length=64, description="The alert's.")
    by: str = Field(min_length=1, max_length=128, description="Who has seen it.")
    note: str = Field(default="", max_length=2000, description="What they say about it.")
    until: UtcTime | None = Field(default=None, description="From then on the alert is told again; without it, at its end only.")
    at: UtcTime = Field(description="When it was acknowledged.")
    stream_id: Name = Field(description="The alert's stream.")
