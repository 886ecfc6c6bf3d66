"""`make chaos`: run every fault at its full length, within 10 minutes; print the table and write it into docs/delivery.md.

    python -m tests.chaos
    FVQ_TIERS=on python -m tests.chaos   # with glances; the page stays as it is

Three lanes of tests run at the same time, each with its own servers, because most of a fault's time is waiting.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.chaos.world import TIERS
from tests.support.processes import ROOT

LANES = (
    ("test_broker.py", "test_stock_faust.py", "test_sampling.py"),
    ("test_sink.py",),
    ("test_scorer.py",),
)
PAGE = ROOT / "docs/delivery.md"
BEGIN, END = "<!-- made by `make chaos` -->", "<!-- end -->"
LIMIT_SECONDS = 600
FAULTS = 17
"""Number of rows of a complete table: with fewer, some fault was not tested and the run fails."""


def table(rows: list[dict[str, object]]) -> str:
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
    return "\n".join(lines)


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
        try:
            codes = [lane.wait(max(1.0, start + LIMIT_SECONDS - time.monotonic())) for lane in lanes]
        except subprocess.TimeoutExpired:
            print(f"not finished within {LIMIT_SECONDS} s")
            codes = [1]
        finally:
            for lane in lanes:
                if lane.poll() is None:
                    # SIGINT as by Ctrl-C: pytest then still ends its servers and workers.
                    lane.send_signal(signal.SIGINT)
                    lane.wait(30)
        rows = []
        for number in range(len(LANES)):
            rows_file = folder / f"{number}.json"
            rows += [json.loads(line) for line in rows_file.read_text().splitlines()] if rows_file.exists() else []
            if any(codes):
                print((folder / f"{number}.log").read_text(errors="replace")[-20_000:])
    print(table(rows))
    print(f"{len(rows)} of {FAULTS} faults, {time.monotonic() - start:.0f} s")
    if any(codes) or len(rows) != FAULTS:
        return 1
    if TIERS == "on":
        return 0
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{table(rows)}\n{END}{rest.split(END)[1]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
