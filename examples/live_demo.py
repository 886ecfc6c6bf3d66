"""A live stream breaks in three ways, and `fvq up` sees it: the picture gets bad, goes black, and the origin goes away.

    python examples/live_demo.py [--json]

Starts a small HLS origin on loopback (`live_origin.py`), follows it with `fvq up --source URL`, which prints the address of its
wall, and shows what was seen of each break and after how many seconds. Takes about 90 seconds on an idle machine, of which the
programme has 68. The exit code is 0 only if all three were seen.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from live_origin import AWAY, BAD, BLACK, GOOD, Origin, stretches
from rich.console import Console
from rich.table import Table

from scorer.process import die_with_parent

READY_SECONDS = 120.0
"""Time in which the worker must be ready."""

PATIENCE = 40.0
"""Seconds after the programme's end in which a break must have been seen: a busy machine scores late."""

STOP_SECONDS = 60.0

EARLY = 3.0
"""Seconds by which a break's start, as an alert names it, may be before its real one: a segment, and the encoder's start."""

ALERTS = {BAD: ("quality-drop", "low-quality"), BLACK: ("black",), AWAY: ("no-segments",)}
"""The kinds of alerts that tell of each break."""

WORDS = {BAD: "the picture gets bad", BLACK: "the picture goes black", AWAY: "the origin goes away (HTTP 404)"}


@dataclass
class Break:
    """A break, and what was seen of it. began: seconds since 1970. after: seconds until it was seen, None where it was not."""

    what: str
    began: float
    seen: str = ""
    after: float | None = None

    def take(self, line: dict[str, Any], now: float) -> bool:
        """Whether a line of `fvq up --json` is the first that tells of this break. now: when it came, seconds since 1970."""
        if self.after is not None or now < self.began:
            return False
        seen = _alert_of(line, ALERTS[self.what], self.began - EARLY)
        if not seen and self.what == AWAY and line.get("source", {}).get("state") in ("failing", "stale"):
            seen = f"source {line['source']['state']}"
        if seen:
            self.seen, self.after = seen, now - self.began
        return bool(seen)


def _alert_of(line: dict[str, Any], kinds: Sequence[str], since: float) -> str:
    """The kind of the alert that a line tells of, where it is one of these and its cause began after `since`; else nothing."""
    alert = line.get("alert", {})
    if alert.get("kind") not in kinds or alert.get("state") != "firing":
        return ""
    return f"alert {alert['kind']}" if datetime.fromisoformat(alert["started_at"]).timestamp() >= since else ""


def main() -> int:
    """Run the demo; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    with tempfile.TemporaryDirectory(prefix="fvq-live-") as folder, Origin(Path(folder)) as origin:
        console.print("[bold]making the programme[/bold]: good, bad, good, black, good, origin away, good", highlight=False)
        origin.make_programme()
        with up(origin.url, Path(folder)) as lines:
            console.print(f"[bold]fvq up --source live={origin.url}[/bold]", highlight=False)
            next_line(lines, READY_SECONDS)  # the source's first state: the worker is ready
            with origin.play() as began:
                breaks = [Break(s.what, began + s.begin) for s in stretches() if s.what != GOOD]
                watch(console, lines, breaks, began)
    show(console, breaks)
    if arguments.json:
        print(json.dumps({"breaks": [vars(each) for each in breaks]}))
    return 0 if all(each.after is not None for each in breaks) else 1


def watch(console: Console, lines: queue.Queue[str | None], breaks: Sequence[Break], began: float) -> None:
    """Read lines until the programme is over and each break was seen, or for `PATIENCE` longer."""
    end = began + stretches()[-1].end
    while (now := time.time()) < end or (now < end + PATIENCE and any(each.after is None for each in breaks)):
        try:
            line = json.loads(next_line(lines, 0.5))
        except queue.Empty:
            continue
        now = time.time()
        tell(console, line, now - began)
        for each in breaks:
            if each.take(line, now):
                console.print(f"  [green]seen[/green]: {WORDS[each.what]}, after {each.after:.1f} s", highlight=False)


def tell(console: Console, line: dict[str, Any], at: float) -> None:
    """Print a line for people. at: seconds since the programme's start."""
    head = f"{at:5.1f} s  "
    if "score" in line:
        console.print(f"{head}score {line['score']:5.1f}  {line['level']}", highlight=False, markup=False)
    elif "alert" in line:
        console.print(f"{head}alert {line['alert']['kind']} {line['alert']['state']}", highlight=False, markup=False)
    elif "source" in line:
        text = f"{head}source is {line['source']['state']} {line['source']['reason']}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def show(console: Console, breaks: Sequence[Break]) -> None:
    """Print the table of breaks."""
    table = Table(
        "break", "seen as", "after", caption="seconds from the first broken picture, or the first 404, to the line above"
    )
    for each in breaks:
        table.add_row(WORDS[each.what], each.seen or "[red]not seen[/red]", "-" if each.after is None else f"{each.after:.1f} s")
    console.print(table)


def next_line(lines: queue.Queue[str | None], seconds: float) -> str:
    """The next line. Raises `queue.Empty` where none comes, and SystemExit where `fvq up` has ended."""
    line = lines.get(timeout=seconds)
    if line is None:
        raise SystemExit("fvq up ended early; its own message is above")
    return line


@contextmanager
def up(url: str, folder: Path) -> Iterator[queue.Queue[str | None]]:
    """A running `fvq up --source URL --json`, stopped as by Ctrl-C; yields its lines, None after the last one.

    The shell's FVQ_ settings are removed, so that the demo touches no real system.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FVQ_")}
    environment |= {"FVQ_FETCH_PRIVATE": "true", "FVQ_DATA_DIR": str(folder / "data"), "FVQ_HARVEST": "false"}
    command = [sys.executable, "-m", "streams.cli", "up", "--source", f"live={url}", "--json", "--keep"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=_child, text=True
    )
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
    try:
        yield lines
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _child() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # this process ends it by that signal


def _read(output: IO[str], lines: queue.Queue[str | None]) -> None:
    for line in output:
        lines.put(line)
    lines.put(None)


if __name__ == "__main__":
    sys.exit(main())
