"""`make fuzz`: mutated events through the worker's path, media and units of video through what reads them, bodies; a minute.

    python -m tests.fuzz [--seed 1] [--events 20000] [--media 2000] [--bodies 5000] [--units 20000] [--findings fvq-data/fuzz]

The same seed makes the same inputs. Prints what they were answered with; the code is 1 where one was answered against the
promise, and its bytes are then in the folder of findings.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.events import fuzz_events
from tests.fuzz.media import fuzz_media
from tests.fuzz.units import fuzz_units
from tests.fuzz.wire import fuzz_wire


def main() -> int:
    """Run all parts; returns the exit code."""
    parser = argparse.ArgumentParser(
        description="Answer mutated events, media and bodies, and report what was not answered rightly."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--media", type=int, default=2_000)
    parser.add_argument("--bodies", type=int, default=5_000)
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--findings", type=Path, default=Path("fvq-data/fuzz"))
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # of servers that are not there: the reports have the figures
    reports = []
    with tempfile.TemporaryDirectory(prefix="fvq-fuzz-") as folder:
        for part in ("events", "bodies", "units", "media"):
            started = time.monotonic()
            if part == "events":
                report = asyncio.run(fuzz_events(options.events, options.seed, Path(folder) / part))
            elif part == "bodies":
                report = fuzz_wire(options.bodies, options.seed)
            elif part == "units":
                report = fuzz_units(options.units, options.seed, Path(folder) / part)
            else:
                report = fuzz_media(options.media, options.seed, Path(folder) / part)
            print(f"{report.text()}\n  time: {time.monotonic() - started:.0f} s", flush=True)
            report.save_findings(options.findings)
            reports.append(report)
    found = sum(len(report.findings) for report in reports)
    if found:
        print(f"{found} findings; their inputs are in {options.findings}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
