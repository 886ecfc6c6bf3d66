"""Everything on one machine: `fvq up`.

Broker, worker and store run for as long as the sources play; the sources are played as live streams. The worker is the
same `fvq worker` as on a cluster, in a process of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from scorer.process import die_with_parent
from streams import parts
from streams.alerts.receivers import describe as describe_alert
from streams.errors import EventError, MediaError
from streams.events import ALERTS_TOPIC, DEAD_LETTER_TOPIC, SCORES_TOPIC, QualityAlert, SegmentEvent, SegmentScore
from streams.ingest.announce import announce
from streams.ingest.files import CutSegment, Source, cut, events_of, find_sources, in_order
from streams.kafka.clients import open_reader
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.progress import wait_for_groups
from streams.kafka.topics import create_topics
from streams.local.drops import clock, describe, find_drops
from streams.local.files import score_bar
from streams.ports import free_port
from streams.settings import Settings

ANSWER_SECONDS = 120.0
"""After the last segment was announced, no answer for this long means that something is wrong."""

AGENTS_SECONDS = 5.0
"""How long alerts and clips of the last segments are waited for."""

ROWS_SHOWN, ALERTS_SHOWN = 14, 4


@dataclass
class Run:
    """What is known of a run: events by id, answers by id, in the order in which they came. told: alerts already printed."""

    events: dict[str, SegmentEvent] = field(default_factory=dict)
    scores: dict[str, SegmentScore] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    alerts: dict[tuple[str, str], QualityAlert] = field(default_factory=dict)
    told: int = 0
    worker_exit: int | None = None
    interrupted: bool = False

    @property
    def answered(self) -> int:
        """How many of this run's segments have an answer."""
        return sum(1 for name in self.events if name in self.scores or name in self.failed)


def run_up(settings: Settings, source: Path, *, fast: bool, segment_seconds: float, as_json: bool) -> int:
    """Play the source, show the scores as they come, end with a summary; returns the exit code."""
    console = Console(stderr=as_json)
    sources = find_sources(source)
    run = Run()
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fvq-up-")))
        console.print(f"cutting {len(sources)} source{'s' if len(sources) > 1 else ''} into segments", style="dim")
        segments = _cut_all(console, sources, work, segment_seconds)
        connection = parts.connection(settings) if settings.broker else Connection(stack.enter_context(EmbeddedBroker()).address)
        create_topics(connection, partitions=4, replication=1)
        pages = f"127.0.0.1:{free_port('127.0.0.1')}"
        worker = stack.enter_context(_worker(settings, connection.servers, work, pages, fast))
        console.print(f"broker {connection.servers}, worker {worker.pid}, metrics at http://{pages}/metrics", style="dim")
        _wait_ready(worker, pages)
        began = datetime.now(UTC)
        events = [event for one, parts in segments.items() for event in events_of(one, parts, began, {})]
        run.events = {event.segment_id: event for event in events}
        done = threading.Event()
        follower = threading.Thread(target=_follow, args=(connection, run, done, as_json), daemon=True)
        follower.start()
        player = threading.Thread(
            target=announce, args=(in_order(events, fast), connection, lambda _: None, done.is_set), daemon=True
        )
        player.start()
        try:
            _show(console, run, worker, player, live=not as_json and console.is_terminal, as_json=as_json)
        except KeyboardInterrupt:
            run.interrupted = True
        if not run.interrupted and run.worker_exit is None:
            agents = {"alerts": settings.alerts, "harvest": settings.harvest}
            groups = [parts.group(settings).of(name).name for name, wanted in agents.items() if wanted]
            wait_for_groups(connection, groups, SCORES_TOPIC, AGENTS_SECONDS)
        done.set()
        follower.join(5)
    _summary(console, run, as_json)
    if run.worker_exit not in (None, 0):
        console.print(f"[red]the worker ended with code {run.worker_exit}[/red]; its own words are above")
        return 1
    if run.interrupted:
        return 0
    return 0 if run.scores and run.answered == len(run.events) and len(segments) == len(sources) else 1


def _cut_all(console: Console, sources: list[Source], folder: Path, seconds: float) -> dict[Source, list[CutSegment]]:
    """The segments of every source that can be played; the others are reported. Raises `MediaError` where none can."""
    segments = {}
    problems = []
    for source in sources:
        try:
            segments[source] = cut(source, folder, seconds)
        except MediaError as error:
            problems.append(f"{source.path}: {error.reason}")
    if not segments:
        raise MediaError("; ".join(problems))
    for problem in problems:
        console.print(f"[red]not played[/red] {problem}", highlight=False, soft_wrap=True)
    return segments


@contextmanager
def _worker(settings: Settings, broker: str, media: Path, pages: str, fast: bool) -> Iterator[subprocess.Popen[bytes]]:
    """`fvq worker` with the settings of this process, ended with the context."""
    roots = os.pathsep.join(str(root) for root in [media, *settings.media_roots])
    changed = {"FVQ_BROKER": broker, "FVQ_MEDIA_ROOTS": roots, "FVQ_WEB_HOST": "127.0.0.1", "FVQ_WEB_PORT": pages.split(":")[1]}
    changed |= {"FVQ_DATA_DIR": str(settings.data_dir), "FVQ_SESSION_TIMEOUT": "6"}
    if not settings.broker:
        changed["FVQ_KAFKA_SECURITY"] = "PLAINTEXT"  # the embedded one knows no other
    if fast:
        changed["FVQ_LIVE_WINDOW"] = "off"
    if settings.log_level == "info":
        changed["FVQ_LOG_LEVEL"] = "warning"  # the table says it already
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli", "worker"],
        env=os.environ | changed,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,  # Faust writes to the terminal, but standard output is for scores
        preexec_fn=die_with_parent,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(worker: subprocess.Popen[bytes], pages: str) -> None:
    """Until the worker has its partitions: a live stream must not run ahead of a worker that still loads its model."""
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if worker.poll() is not None:
            raise MediaError(f"the worker ended at once with code {worker.returncode}; its own words are above", kind="worker")
        try:
            with urllib.request.urlopen(f"http://{pages}/readyz", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise MediaError("the worker was not ready within 90 s", kind="worker")


def _follow(connection: Connection, run: Run, done: threading.Event, as_json: bool) -> None:
    """Collect answers and alerts of this run's segments until told to stop."""
    consumer = open_reader(connection)
    consumer.subscribe([SCORES_TOPIC, DEAD_LETTER_TOPIC, ALERTS_TOPIC])
    try:
        stopping = False
        while not stopping:
            stopping = done.is_set()  # and then once more, for what came meanwhile
            for messages in consumer.poll(timeout_ms=200).values():
                for message in messages:
                    take(message, run, as_json)
    finally:
        consumer.close()


def take(message: Any, run: Run, as_json: bool) -> None:
    """Note what a message says of this run; the topics may hold what others wrote, which is not ours to judge."""
    with suppress(EventError):
        _take(message, run, as_json)


def _take(message: Any, run: Run, as_json: bool) -> None:
    if message.topic == ALERTS_TOPIC:
        alert = QualityAlert.from_bytes(message.value)
        key = alert.alert_id, alert.state
        if key not in run.alerts and alert.segment_id in run.events:
            run.alerts[key] = alert
            if as_json:
                print(json.dumps({"alert": alert.model_dump(mode="json", exclude_none=True)}), flush=True)
        return
    if message.topic == SCORES_TOPIC:
        score = SegmentScore.from_bytes(message.value)
        if score.segment_id in run.events and score.segment_id not in run.scores:
            run.scores[score.segment_id] = score
            if as_json:
                print(message.value.decode(), flush=True)
        return
    headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers}
    if headers.get("segment_id") in run.events:
        reason = headers.get("reason", "no reason given")
        run.failed[headers["segment_id"]] = reason
        if as_json:
            print(json.dumps({"segment_id": headers["segment_id"], "error": reason}), flush=True)


def _show(
    console: Console, run: Run, worker: subprocess.Popen[bytes], player: threading.Thread, *, live: bool, as_json: bool
) -> None:
    """Show answers until all are there, or the worker is gone, or nothing comes any more."""
    shown = 0
    last_change = time.monotonic()

    def ended() -> bool:
        nonlocal shown, last_change
        if run.answered != shown or player.is_alive():
            shown, last_change = run.answered, time.monotonic()
        run.worker_exit = worker.poll()
        return run.answered == len(run.events) or run.worker_exit is not None or time.monotonic() - last_change > ANSWER_SECONDS

    if live:
        with Live(_table(run), console=console, refresh_per_second=8) as view:
            while not ended():
                time.sleep(0.1)
                view.update(_table(run))
            view.update(_table(run))
        return
    printed = 0
    if not as_json:
        console.print(f"{'stream':<20} {'segment':>7}  {'score':>5}  {'':20}  level", highlight=False)
    while True:
        finished = ended()
        rows = list(run.scores.values())
        for score in rows[printed:] if not as_json else ():
            console.print(_line(score), highlight=False, soft_wrap=True)
        printed = len(rows)
        if not as_json:
            _tell_alerts(console, run)
        if finished:
            return
        time.sleep(0.1)


def _line(score: SegmentScore) -> str:
    head = f"{score.stream_id[:20]:<20} {score.sequence:>7}"
    if score.score is None or score.faces is None:
        return f"{head}  {score.status}: {score.reason}"
    return (
        f"{head}  {score.score:>5.1f}  {score_bar(score.score)}  {score.level:<10} faces {score.faces.count}  {_signals(score)}"
    )


def _signals(score: SegmentScore) -> str:
    assert score.signals is not None
    s = score.signals
    return f"blur {s.blur:.2f}  block {s.blockiness:.2f}  noise {s.noise:.1f}  black {s.black:.2f}  freeze {s.freeze:.2f}"


def _tell_alerts(console: Console, run: Run) -> None:
    alerts = list(run.alerts.values())
    for alert in alerts[run.told :]:
        console.print(_alert_line(alert), highlight=False, soft_wrap=True)
    run.told = len(alerts)


def _alert_line(alert: QualityAlert) -> str:
    colour = "red" if alert.state == "firing" else "green"
    return f"[{colour}]alert {alert.state}[/{colour}] {escape(describe_alert(alert))}"


def _table(run: Run) -> Table:
    table = Table(
        "stream", "segment", "at", "score", "", "level", "faces", "signals", title=f"{run.answered} of {len(run.events)} segments"
    )
    if run.alerts:
        table.caption = "\n".join(_alert_line(alert) for alert in list(run.alerts.values())[-ALERTS_SHOWN:])
    for score in list(run.scores.values())[-ROWS_SHOWN:]:
        at = clock((score.start - min(e.start for e in run.events.values())).total_seconds())
        if score.score is None or score.faces is None:
            table.add_row(score.stream_id, str(score.sequence), at, "-", "", score.status, "", score.reason)
        else:
            table.add_row(
                score.stream_id, str(score.sequence), at, f"{score.score:.1f}", score_bar(score.score),
                score.level, str(score.faces.count), _signals(score),
            )  # fmt: skip
    return table


def _summary(console: Console, run: Run, as_json: bool) -> None:
    """Per stream: how many segments, mean and lowest score, and the drops; then what failed and why."""
    by_stream: dict[str, list[SegmentScore]] = {}
    for score in sorted(run.scores.values(), key=lambda one: one.sequence):
        if score.score is not None:
            by_stream.setdefault(score.stream_id, []).append(score)
    for stream_id, scores in sorted(by_stream.items()):
        values = [one.score for one in scores if one.score is not None]
        starts = [(one.start - scores[0].start).total_seconds() for one in scores]
        drops = find_drops(values)
        if as_json:
            named = [vars(drop) for drop in drops]
            print(
                json.dumps(
                    {
                        "summary": stream_id,
                        "segments": len(values),
                        "mean": sum(values) / len(values),
                        "lowest": min(values),
                        "drops": named,
                    }
                )
            )
            continue
        console.print(
            f"[bold]{stream_id}[/bold]: {len(values)} segments, mean {sum(values) / len(values):.1f}, lowest {min(values):.1f}",
            highlight=False,
        )
        for drop in drops:
            console.print(f"  [yellow]▼[/yellow] {describe(drop, starts)}", highlight=False, soft_wrap=True)
    if not as_json:
        _tell_alerts(console, run)
    fired = [alert for alert in run.alerts.values() if alert.state == "firing"]
    if fired and not as_json:
        over = sum(1 for alert in run.alerts.values() if alert.state == "resolved")
        kinds = ", ".join(sorted({alert.kind for alert in fired}))
        console.print(f"{len(fired)} alert{'s' if len(fired) > 1 else ''} fired ({kinds}), {over} resolved", highlight=False)
    skipped = sum(1 for one in run.scores.values() if one.status == "skipped")
    if skipped:
        console.print(f"{skipped} segments were skipped: the worker was too slow for live", highlight=False)
    for segment_id, reason in run.failed.items():
        console.print(f"[red]failed[/red] {segment_id}: {reason}", highlight=False)
    missing = len(run.events) - run.answered
    if missing:
        why = "stopped before their turn" if run.interrupted else "without an answer"
        console.print(f"{missing} segments {why}", highlight=False)
