"""`make chaos`: run every fault at its full length; print the table and write it into docs/delivery.md.

    python -m tests.chaos
    FVQ_TIERS=on python -m tests.chaos   # with glances; the page stays as it is

Three lanes of tests run at the same time, each with its own servers, because most of a fault's time is waiting. Two free cores
take 10 minutes. Each fault is named when it is over.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.chaos.world import TIERS
from tests.support.documentation import replace_marked
from tests.support.processes import ROOT

LANES = (
    ("test_broker.py", "test_stock_faust.py", "test_sampling.py"),
    ("test_sink.py",),
    ("test_scorer.py",),
)
PAGE = ROOT / "docs/delivery.md"
LIMIT_SECONDS = 1800
"""For all lanes: three times what two free cores take. A test that hangs ends by its own limit, 420 s."""

END_SECONDS = 60
"""For the lanes to end their servers and workers when the time is up."""

FAULTS = 17
"""Number of rows of a complete table: with fewer, some fault was not tested and the run fails."""


def table(rows: list[dict[str, object]]) -> list[str]:
    """The rows as Markdown."""
    with_glances = any(row["glances"] is not None for row in rows)
    lines = [
        "| fault | segments in | lost | duplicates | dead letters | recovery, s | SIGTERM, s | memory, MiB |"
        + " glances |" * with_glances,
        "|---|---|---|---|---|---|---|---|" + "---|" * with_glances,
    ]
    for row in rows:
        stop = "" if row["stop"] is None else f"{row['stop']:.1f}"
        counts = " | ".join(str(row[name]) for name in ("segments", "lost", "duplicates", "dead"))
        glances = f" {row['glances']} |" * with_glances
        lines.append(f"| {row['fault']} | {counts} | {row['recovery']:.1f} | {stop} | +{row['growth']:.0f} |{glances}")
    return lines


class Progress:
    """Names each fault when it is over. files: those of the lanes' rows, JSON lines; a file may not be there yet."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._start = time.monotonic()
        self._rows: dict[Path, list[dict[str, object]]] = {file: [] for file in files}

    @property
    def rows(self) -> list[dict[str, object]]:
        """All rows, those of the first lane first."""
        return [row for rows in self._rows.values() for row in rows]

    def look(self) -> None:
        """Read the rows that are new, and print a line for each."""
        for file, rows in self._rows.items():
            text = file.read_text() if file.exists() else ""
            complete = text[: text.rfind("\n") + 1].splitlines()
            for row in map(json.loads, complete[len(rows) :]):
                rows.append(row)
                passed = time.monotonic() - self._start
                print(f"{passed:4.0f} s  {row['fault']}: {row['segments']} segments, {row['lost']} lost", flush=True)


def end(lanes: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """End the lanes that still run: all at once as by Ctrl-C, so that they end their servers, and those that do not by a kill."""
    running = [lane for lane in lanes if lane.poll() is None]
    for lane in running:
        lane.send_signal(signal.SIGINT)
    until = time.monotonic() + seconds
    for lane in running:
        try:
            lane.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"lane {lanes.index(lane)} did not end within {seconds:g} s and is killed; its servers may still run")
            lane.kill()
            lane.wait()


def main() -> int:
    """Run the lanes; returns the exit code."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fvq-chaos-") as name:
        folder = Path(name)
        lanes = []
        for number, files in enumerate(LANES):
            options = ["--chaos", f"--chaos-rows={folder / f'{number}.json'}", f"--basetemp={folder / str(number)}", "-q", "-s"]
            paths = [f"tests/chaos/{file}" for file in files]
            log = (folder / f"{number}.log").open("wb")
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, *paths]
            # CI=true: a server that cannot be started fails its tests; none is skipped.
            environment = os.environ | {"OMP_NUM_THREADS": "1", "CI": "true"}
            lanes.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment))
        progress = Progress([folder / f"{number}.json" for number in range(len(LANES))])
        try:
            while any(lane.poll() is None for lane in lanes) and time.monotonic() - start < LIMIT_SECONDS:
                progress.look()
                time.sleep(1)
            if any(lane.poll() is None for lane in lanes):
                print(f"not finished within {LIMIT_SECONDS} s")
        finally:
            end(lanes, END_SECONDS)
        progress.look()
        codes = [lane.returncode for lane in lanes]
        if any(codes):
            for number in range(len(LANES)):
                print((folder / f"{number}.log").read_text(errors="replace")[-20_000:])
    rows = progress.rows
    print("\n".join(table(rows)))
    print(f"{len(rows)} of {FAULTS} faults, {time.monotonic() - start:.0f} s")
    if any(codes) or len(rows) != FAULTS:
        return 1
    if TIERS == "on":
        return 0
    replace_marked(PAGE, "make chaos", table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
