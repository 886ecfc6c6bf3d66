"""Acknowledgements: somebody has seen an alert, so it is not told again. It is never hidden. Pure functions.

An acknowledgement ends with its alert, when it is taken back, or at its `until`. The last message of an alert's key on
`alert-acks` counts; all workers and all walls read the same topic, so they agree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import TypeAdapter, ValidationError

from scorer.errors import in_own_words
from streams.errors import EventError
from streams.events import AlertAcknowledgement, QualityAlert
from streams.events.base import UtcTime
from streams.text import printable

MOST_KNOWN = 100_000
"""Acknowledgements that are kept; the oldest ones are forgotten first."""


def acknowledge(
    alert_id: str, stream_id: str, by: str, at: datetime, note: str = "", until: datetime | None = None
) -> AlertAcknowledgement:
    """An acknowledgement. at: now, UTC. until: when it ends, UTC; None for the alert's end.

    Raises `EventError`, which names the field: nobody's name, a text that is too long, or an end that is not after `at`.
    """
    if until is not None and until <= at:
        raise EventError("until", f"{until.isoformat()} is over")
    try:
        return AlertAcknowledgement(alert_id=alert_id, stream_id=stream_id, by=by.strip(), at=at, note=note, until=until)
    except ValidationError as error:
        raise EventError.of(error) from None


def ending(text: str, at: datetime) -> datetime:
    """The end that somebody typed: a time, or how long after `at` it is, as `90m`, `2h` or `1d`.

    Raises `EventError` where it is neither.
    """
    if length := re.fullmatch(r"(\d{1,4})([mhd])", text.strip()):
        return at + int(length[1]) * UNITS[length[2]]
    try:
        return TypeAdapter(UtcTime).validate_python(text)
    except ValidationError as error:
        raise EventError("until", f"{in_own_words(error.errors()[0]['msg'])}, or how long it lasts, as 2h or 30m") from None


UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


def check_is_free(held: AlertAcknowledgement | None, by: str) -> None:
    """Raise `EventError` where somebody else's acknowledgement holds: a new one would replace its note and its end.

    held: the one that holds now. by: who wants to acknowledge the alert.
    """
    if held is not None and held.by != by:
        note = f" ({printable(held.note)})" if held.note else ""
        who = f"{printable(held.by)} has acknowledged it already{note}"
        raise EventError("", f"{who}: `fvq alerts unack {held.alert_id}` takes that back")


def holds(acknowledgement: AlertAcknowledgement | None, now: datetime) -> bool:
    """Whether an acknowledgement is there and has not ended by itself. now: UTC."""
    return acknowledgement is not None and (acknowledgement.until is None or now < acknowledgement.until)


class Acknowledgements:
    """What the topic's messages add up to. One thread folds, any thread may ask.

    complete: whether the topic was read to its end once. Until then an alert may be acknowledged of which this knows nothing.
    """

    def __init__(self) -> None:
        self.complete = False
        self._by_alert: dict[str, AlertAcknowledgement] = {}

    def fold(self, key: bytes | None, value: bytes | None) -> None:
        """Take in one message; without a value it takes an acknowledgement back. Raises `EventError` where it is none."""
        alert_id = (key or b"").decode(errors="replace")
        if not value:
            self._by_alert.pop(alert_id, None)
            return
        acknowledgement = AlertAcknowledgement.from_bytes(value)
        if acknowledgement.alert_id != alert_id:
            raise EventError("alert_id", f"{acknowledgement.alert_id!r} is not the message's key")
        self._by_alert.pop(alert_id, None)
        self._by_alert[alert_id] = acknowledgement
        if len(self._by_alert) > MOST_KNOWN:
            del self._by_alert[next(iter(self._by_alert))]

    def of(self, alert_id: str, now: datetime) -> AlertAcknowledgement | None:
        """The acknowledgement of an alert that holds now, UTC; None without one."""
        acknowledgement = self._by_alert.get(alert_id)
        return acknowledgement if holds(acknowledgement, now) else None

    def known(self) -> list[AlertAcknowledgement]:
        """All acknowledgements, also those that have ended, the oldest message first."""
        return list(self._by_alert.values())

    def unseen(self, alerts: Iterable[QualityAlert], now: datetime) -> list[QualityAlert]:
        """The alerts that nobody has acknowledged: these may be told again."""
        return [alert for alert in alerts if self.of(alert.alert_id, now) is None]
