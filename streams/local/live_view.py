"""What `fvq up` prints of live streams: a table with a row for each stream on a terminal, else lines; then the summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.events import QualityAlert, SegmentScore
from streams.local.bars import score_bar
from streams.local.drops import find_drops
from streams.local.live_run import Key, LiveRun, LiveStream, source_line
from streams.local.view import Lines, alert_line, line_of, print_json, score_line, signals_of
from streams.text import counted

ROWS_SHOWN, ALERTS_SHOWN = 40, 6


class LiveView(Lines):
    """The output of a run of live streams."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(as_json)
        self._shows_table = self._console.is_terminal and not as_json

    def problem(self, text: str) -> None:
        """Print why the run ended."""
        self._line((text, "red"))

    @contextmanager
    def shown(self, run: LiveRun) -> Iterator[Callable[[], None]]:
        """Inside this context a terminal shows the table. Yields a function that brings it up to date."""
        if not self._shows_table:
            yield lambda: None
            return
        with Live(table_of(run), console=self._console, refresh_per_second=4) as live:
            yield lambda: live.update(table_of(run))
            live.update(table_of(run))

    def take(self, run: LiveRun, message: Any) -> None:
        """Note a message in the run, and print it where lines are printed."""
        before = set(run.alerts)
        line = run.take(message)
        if line is None or self._shows_table:
            return
        if self.as_json:
            print_json(line)
            return
        new = [alert for key, alert in run.alerts.items() if key not in before]
        self._print_news(new, message, line)

    def states(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Print sources whose state has changed, where lines are printed."""
        for row in rows:
            if self.as_json:
                print_json(source_line(row))
            elif not self._shows_table:
                self._line("source ", (_name(row), "bold"), f" is {row['state']}", f": {row['reason']}" if row["reason"] else "")

    def summary(self, run: LiveRun) -> None:
        """Print of each stream the number of segments, mean and lowest score and its source's state; then alerts and failures."""
        for key in sorted({*run.streams, *run.sources}, key=lambda key: (key[0], key[1] or "")):
            self._stream_summary(key, run.streams.get(key, LiveStream()), run.sources.get(key))
        if self.as_json:
            return
        if run.fired:
            kinds = ", ".join(sorted({alert.kind for alert in run.alerts.values()}))
            self._line(f"{counted(run.fired, 'alert')} fired ({kinds}), {run.resolved} resolved")

    def _stream_summary(self, key: Key, stream: LiveStream, source: Mapping[str, Any] | None) -> None:
        name = "/".join(part for part in key if part)
        mean = stream.total / stream.scored if stream.scored else None
        if self.as_json:
            drops = [vars(drop) for drop in find_drops([score.score for score in stream.recent if score.score is not None])]
            facts = {"summary": key[0], "rendition": key[1], "segments": stream.scored, "mean": mean, "lowest": stream.lowest}
            counts = {"skipped": stream.skipped, "failed": stream.failed}
            print_json(json.dumps(facts | counts | {"drops": drops, "state": source["state"] if source else None}))
            return
        parts: list[str | tuple[str, str]] = [(name, "bold")]
        if mean is None:
            parts.append(": no scores")
        else:
            parts.append(f": {counted(stream.scored, 'segment')}, mean {mean:.1f}, lowest {stream.lowest:.1f}")
        if stream.skipped:
            parts.append(f", {stream.skipped} skipped: the worker was too slow for live")
        if stream.failed:
            parts.append(f", {stream.failed} failed, the last: {stream.reason}")
        if source is not None:
            parts.append(f"; the source is {source['state']}" + (f": {source['reason']}" if source["reason"] else ""))
        self._line(*parts)

    def _print_news(self, alerts: Sequence[QualityAlert], message: Any, line: str) -> None:
        for alert in alerts:
            self._print(alert_line(alert))
        if alerts:
            return
        facts = json.loads(line)
        if "error" in facts:
            self._line(("failed", "red"), f" {facts['segment_id']}: {facts['error']}")
        else:
            self._print(score_line(SegmentScore.from_bytes(message.value)))


def table_of(run: LiveRun, now: datetime | None = None) -> Table:
    """The streams with their latest scores, worst first. now: UTC."""
    now = now or datetime.now(UTC)
    table = Table(
        "stream", "source", "score", "", "level", "faces", "behind", "signals", title=f"{counted(run.scored, 'segment')} scored"
    )
    if run.alerts:
        table.caption = Text("\n").join(alert_line(alert) for alert in list(run.alerts.values())[-ALERTS_SHOWN:])
    for key in sorted({*run.streams, *run.sources}, key=lambda key: _worst(run, key))[:ROWS_SHOWN]:
        stream, source = run.streams.get(key, LiveStream()), run.sources.get(key)
        state = str(source["state"]) if source is not None else ""
        shown = line_of((state, "green" if state == "live" else "yellow"))
        name = line_of("/".join(part for part in key if part))
        score = stream.latest
        if score is None:
            table.add_row(name, shown, "-", "", "", "", "", line_of(str(source["reason"]) if source is not None else ""))
            continue
        behind = f"{(now - score.start).total_seconds() - score.duration:.0f} s"
        if score.score is None or score.faces is None:
            table.add_row(name, shown, "-", "", score.status, "", behind, line_of(score.reason or ""))
        else:
            table.add_row(
                name, shown, f"{score.score:.1f}", score_bar(score.score), score.level, str(score.faces.count), behind,
                signals_of(score),
            )  # fmt: skip
    return table


def _worst(run: LiveRun, key: Key) -> tuple[float, str]:
    """What streams are sorted by: the latest score; those without one come first."""
    latest = run.streams[key].latest if key in run.streams else None
    return (latest.score if latest is not None and latest.score is not None else -1.0), key[0]


def _name(row: Mapping[str, Any]) -> str:
    return "/".join(part for part in (row["stream"], row["rendition"]) if part)
