"""What `fvq up` prints: the live table, or a line for each score, then the summary."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from streams.alerts.summary import describe as describe_alert
from streams.events import QualityAlert, SegmentScore
from streams.local.bars import score_bar
from streams.local.drops import clock, describe, find_drops
from streams.local.run import Run
from streams.text import counted, printable

ROWS_SHOWN, ALERTS_SHOWN = 14, 4


class Lines:
    """The output of one run. as_json: standard output takes only JSON, and text for people goes to standard error."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._console = Console(stderr=as_json)

    def note(self, text: str) -> None:
        """Print what is being done, in a faint colour."""
        self._console.print(Text(printable(text)), style="dim", soft_wrap=True)

    def _line(self, *parts: str | tuple[str, str]) -> None:
        """Print one line of texts, each plain or with a style; nothing in them is markup."""
        self._print(line_of(*parts))

    def _print(self, line: str | Text) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


class View(Lines):
    """The output of a run of files."""

    def __init__(self, as_json: bool) -> None:
        super().__init__(as_json)
        self._scores_printed = self._alerts_printed = 0

    def problem(self, what: str, details: str) -> None:
        """Print what went wrong: `what` in red, then the details."""
        self._line((what, "red"), f" {details}")

    @contextmanager
    def shown(self, run: Run) -> Iterator[Callable[[], None]]:
        """Show a run's scores and alerts inside this context: as a table on a terminal, else as lines.

        Yields a function that brings the output up to date; leaving the context does so a last time. With `as_json` nothing is
        shown.
        """
        if self.as_json:
            yield lambda: None
        elif self._console.is_terminal:
            with Live(_table(run), console=self._console, refresh_per_second=8) as live:
                yield lambda: live.update(_table(run))
                live.update(_table(run))
        else:
            self._console.print(f"{'stream':<20} {'segment':>7}  {'score':>5}  {'':20}  level", highlight=False)
            yield lambda: self._print_new(run)
            self._print_new(run)

    def summary(self, run: Run) -> None:
        """Print of each stream the number of segments, mean and lowest score, and the drops; then what failed and why."""
        for stream_id, scores in sorted(_scored_by_stream(run).items()):
            self._stream_summary(stream_id, scores)
        if not self.as_json:
            self._print_new_alerts(run)
            self._alert_summary(run)
        skipped = sum(1 for score in run.scores.values() if score.status == "skipped")
        if skipped:
            self._console.print(
                f"{counted(skipped, 'segment was', 'segments were')} skipped: the worker was too slow for live", highlight=False
            )
        for segment_id, reason in run.failed.items():
            self._line(("failed", "red"), f" {segment_id}: {reason}")
        missing = len(run.events) - run.answered
        if missing:
            why = "stopped before their turn" if run.interrupted else "without an answer"
            self._console.print(f"{counted(missing, 'segment')} {why}", highlight=False)

    def _print_new(self, run: Run) -> None:
        scores = list(run.scores.values())
        for score in scores[self._scores_printed :]:
            self._print(score_line(score))
        self._scores_printed = len(scores)
        self._print_new_alerts(run)

    def _print_new_alerts(self, run: Run) -> None:
        alerts = list(run.alerts.values())
        for alert in alerts[self._alerts_printed :]:
            self._print(alert_line(alert))
        self._alerts_printed = len(alerts)

    def _stream_summary(self, stream_id: str, scores: list[SegmentScore]) -> None:
        values = [score.score for score in scores if score.score is not None]
        count, mean, lowest, drops = len(values), sum(values) / len(values), min(values), find_drops(values)
        if self.as_json:
            facts = {"summary": stream_id, "segments": count, "mean": mean, "lowest": lowest}
            print_json(json.dumps(facts | {"drops": [vars(drop) for drop in drops]}))
            return
        self._line((stream_id, "bold"), f": {counted(count, 'segment')}, mean {mean:.1f}, lowest {lowest:.1f}")
        starts = [(score.start - scores[0].start).total_seconds() for score in scores]
        for drop in drops:
            self._line("  ", ("▼", "yellow"), f" {describe(drop, starts)}")

    def _alert_summary(self, run: Run) -> None:
        fired = [alert for alert in run.alerts.values() if alert.state == "firing"]
        if fired:
            resolved = sum(1 for alert in run.alerts.values() if alert.state == "resolved")
            kinds = ", ".join(sorted({alert.kind for alert in fired}))
            text = f"{counted(len(fired), 'alert')} fired ({kinds}), {resolved} resolved"
            self._console.print(text, highlight=False)


def print_json(line: str) -> None:
    """Print a line of JSON in one write: lines come from several threads, and `print` writes the end of a line by itself."""
    print(f"{line}\n", end="", flush=True)


def line_of(*parts: str | tuple[str, str]) -> Text:
    """One line of texts from outside, each plain or with a style: what is not printable is escaped, and nothing is markup."""
    return Text.assemble(*(printable(part) if isinstance(part, str) else (printable(part[0]), part[1]) for part in parts))


def _scored_by_stream(run: Run) -> dict[str, list[SegmentScore]]:
    """Each stream's scores in the order of its segments, without those that were skipped."""
    by_stream: dict[str, list[SegmentScore]] = {}
    for score in sorted(run.scores.values(), key=lambda score: score.sequence):
        if score.score is not None:
            by_stream.setdefault(score.stream_id, []).append(score)
    return by_stream


def _table(run: Run) -> Table:
    title = f"{run.answered} of {len(run.events)} segments"
    table = Table("stream", "segment", "at", "score", "", "level", "faces", "signals", title=title)
    if run.alerts:
        table.caption = Text("\n").join(alert_line(alert) for alert in list(run.alerts.values())[-ALERTS_SHOWN:])
    for score in list(run.scores.values())[-ROWS_SHOWN:]:
        at = clock((score.start - min(event.start for event in run.events.values())).total_seconds())
        if score.score is None or score.faces is None:
            table.add_row(
                line_of(score.stream_id), str(score.sequence), at, "-", "", score.status, "", line_of(score.reason or "")
            )
        else:
            table.add_row(
                line_of(score.stream_id), str(score.sequence), at, f"{score.score:.1f}", score_bar(score.score),
                score.level, str(score.faces.count), signals_of(score),
            )  # fmt: skip
    return table


def score_line(score: SegmentScore) -> Text:
    """A score as one line."""
    head = f"{printable(score.stream_id)[:20]:<20} {score.sequence:>7}  "
    if score.score is None or score.faces is None:
        return line_of(f"{head}{score.status}: {score.reason}")
    return Text.assemble(
        f"{head}{score.score:>5.1f}  ", score_bar(score.score),
        f"  {score.level:<10} faces {score.faces.count}  {signals_of(score)}",
    )  # fmt: skip


def signals_of(score: SegmentScore) -> str:
    """The measurements of a scored segment."""
    assert score.signals is not None
    s = score.signals
    tier = "glance  " if score.tier == "glance" else ""
    return f"{tier}blur {s.blur:.2f}  block {s.blockiness:.2f}  noise {s.noise:.1f}  black {s.black:.2f}  freeze {s.freeze:.2f}"


def alert_line(alert: QualityAlert) -> Text:
    """An alert as one line."""
    colour = "red" if alert.state == "firing" else "green"
    return line_of((f"alert {alert.state}", colour), f" {describe_alert(alert)}")
