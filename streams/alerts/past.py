"""`fvq alerts backtest`: the stored scores of the last days through two policies, and what differs between their alerts."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from streams.alerts.policy import AlertPolicy
from streams.alerts.replay import Difference, Replay, difference, newest_end, within
from streams.errors import HistoryError
from streams.events import QualityAlert, SegmentScore
from streams.history.base import MOST_SEGMENTS, History
from streams.text import counted, printable

LEAD = timedelta(hours=1)
"""Scores before the first day, from which the streams get what is usual for them; alerts that begin there are not counted."""

FIRST_WINDOW, LEAST_WINDOW, LONGEST_WINDOW = timedelta(minutes=15), timedelta(seconds=1), timedelta(days=1)
"""How much of a stream is asked for at once: less where an answer is full, more where little comes."""

LISTED = 20
"""Most alerts of one kind of change in the text for people; JSON has all."""


@dataclass(frozen=True)
class Backtest:
    """The result. start, end: of what was judged. streams, segments: how many were read, with those of the hour before.

    policies: today's and the new one, for what their receivers would have been told.
    """

    start: datetime
    end: datetime
    streams: int
    segments: int
    policies: tuple[AlertPolicy, AlertPolicy]
    difference: Difference


async def backtest(
    history: History,
    policies: tuple[AlertPolicy, AlertPolicy],
    start: datetime,
    end: datetime,
    streams: Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """What today's policy and a new one say about the stored scores of a time.

    policies: today's, the new one. streams: only these; all that have scores without any. labels: that all streams carry beside
    those of their scores. tell: is called with a line for each stream. Raises `HistoryError` where the store cannot be read, has
    no score of the time, or has none of a named stream.
    """
    stored = await history.stream_ids(start, end)
    if missing := sorted(set(streams) - set(stored)):
        raise HistoryError(
            f"the store has no scores of {missing[0]!r} between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC"
        )
    names = sorted(set(streams) or set(stored))
    replays: list[tuple[Replay, Replay]] = []
    segments, last = 0, start
    for number, name in enumerate(names, 1):
        tell(f"stream {number} of {len(names)}")
        pair = Replay(name, policies[0], labels or {}), Replay(name, policies[1], labels or {})
        async for scores in stored_scores(history, name, start - LEAD, end):
            segments += len(scores)
            last = max(last, newest_end(scores) or last)
            for score in scores:
                for replay in pair:
                    replay.add(score)
        replays.append(pair)
    if not segments:
        raise HistoryError(f"the store has no scores between {start:%Y-%m-%d %H:%M} and {end:%Y-%m-%d %H:%M} UTC")
    # Silence is judged as far as the store goes: where no worker ran, nobody knows who was silent.
    until = min(end, last)
    before, after = ([alert for pair in replays for alert in within(pair[which].alerts(until), start)] for which in (0, 1))
    return Backtest(start, end, len(names), segments, policies, difference(before, after))


async def stored_scores(history: History, stream_id: str, start: datetime, end: datetime) -> AsyncIterator[list[SegmentScore]]:
    """A stream's scores in the order of their starts, in portions. Raises `HistoryError`."""
    window = FIRST_WINDOW
    while start < end:
        until = min(end, start + window)
        scores = await history.segments(stream_id, None, start, until, MOST_SEGMENTS)
        if len(scores) == MOST_SEGMENTS:
            if window <= LEAST_WINDOW:
                raise HistoryError(f"{stream_id!r} has {MOST_SEGMENTS} segments or more within a second, at {start.isoformat()}")
            window = max(LEAST_WINDOW, window / 2)
            continue
        if scores:
            yield scores[::-1]
        start = until
        if len(scores) < MOST_SEGMENTS // 4:
            window = min(LONGEST_WINDOW, window * 2)


def report(result: Backtest) -> dict[str, Any]:
    """For JSON."""
    change = result.difference
    return {
        "start": result.start.isoformat(),
        "end": result.end.isoformat(),
        "streams": result.streams,
        "segments": result.segments,
        "kinds": {kind: dict(zip(COLUMNS, counts, strict=True)) for kind, counts in _counts(change, "kind").items()},
        "by_stream": {name: dict(zip(COLUMNS, counts, strict=True)) for name, counts in _counts(change, "stream_id").items()},
        "receivers": _told(result),
        "gained": [alert.model_dump(mode="json", exclude_none=True) for alert in change.gained],
        "lost": [alert.model_dump(mode="json", exclude_none=True) for alert in change.lost],
        "changed_severity": [alert.model_dump(mode="json", exclude_none=True) for alert in change.changed_severity],
    }


COLUMNS = ("before", "after", "gained", "lost", "changed_severity")


def table(result: Backtest) -> str:
    """The result as Markdown, for people."""
    change = result.difference
    lines = [
        f"{result.start:%Y-%m-%d %H:%M} to {result.end:%Y-%m-%d %H:%M} UTC: {counted(result.streams, 'stream')}, "
        f"{counted(result.segments, 'segment')}",
        "",
        *_rows("kind", _counts(change, "kind")),
    ]
    by_stream = {name: counts for name, counts in _counts(change, "stream_id").items() if any(counts[2:])}
    if by_stream:
        most = sorted(by_stream, key=lambda name: -sum(by_stream[name][2:]))[:LISTED]
        lines += ["", *_rows("stream", {name: by_stream[name] for name in most})]
    if told := _told(result):
        lines += ["", "| receiver | told today | told by the new policy |", "|---|---|---|"]
        lines += [f"| {name} | {counts['before']} | {counts['after']} |" for name, counts in told.items()]
    for title, alerts in (("Gained", change.gained), ("Lost", change.lost), ("Other severity", change.changed_severity)):
        if alerts:
            lines += ["", f"{title}:", *(f"- {_line(alert)}" for alert in alerts[:LISTED])]
        if len(alerts) > LISTED:
            lines.append(f"- and {len(alerts) - LISTED} more: see --json")
    if not (change.gained or change.lost or change.changed_severity):
        lines += ["", "The new policy changes no alert."]
    return "\n".join(lines)


def _counts(change: Difference, field: str) -> dict[str, tuple[int, ...]]:
    """Of each value of a field of the alerts: how many there are in each list of the difference."""
    lists = (change.before, change.after, change.gained, change.lost, change.changed_severity)
    counters = [Counter(str(getattr(alert, field)) for alert in alerts) for alerts in lists]
    return {value: tuple(counter[value] for counter in counters) for value in sorted(set().union(*counters))}


def _told(result: Backtest) -> dict[str, dict[str, int]]:
    """Of each receiver of one of the policies: how many alerts it would have been told of by each."""
    change = result.difference
    told: dict[str, dict[str, int]] = {}
    for key, policy, alerts in zip(("before", "after"), result.policies, (change.before, change.after), strict=True):
        for receiver in policy.receivers:
            told.setdefault(receiver.name, {"before": 0, "after": 0})[key] = sum(map(receiver.accepts, alerts))
    return told


def _rows(title: str, counts: Mapping[str, Sequence[int]]) -> list[str]:
    lines = [f"| {title} | today | new policy | gained | lost | other severity |", "|---|---|---|---|---|---|"]
    return lines + [f"| {printable(name)} | {' | '.join(map(str, numbers))} |" for name, numbers in counts.items()]


def _line(alert: QualityAlert) -> str:
    end = "still firing" if alert.ended_at is None else f"{(alert.ended_at - alert.started_at).total_seconds():.0f} s"
    return f"{alert.started_at:%m-%d %H:%M:%S} {alert.severity} {alert.kind} ({end}): {alert.summary}"
