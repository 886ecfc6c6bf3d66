"""`make bench`: what a segment costs, in one run of at most 5 minutes, each figure as a ratio to the full decode.

    python -m tests.bench.performance [--tables looks start ...] [--json] [--write]

The full decode is `ffmpeg -threads 1` of the same segment, its start included, measured before and after each look. All figures
are CPU time, user and system, of the processes that do the work, so that a busy machine changes the ratios by some per cent.
--write puts the tables into docs/performance.md.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scorer.spec import SPECIFICATIONS
from streams.plan.measure import processor
from tests.bench import around, looks, stages, startup, whole
from tests.bench.arguments import parser_of
from tests.bench.looks import Content, Look
from tests.bench.progress import say
from tests.support.documentation import replace_marked
from tests.support.processes import ROOT

PAGE = ROOT / "docs/performance.md"
COMMAND = "make bench"
AROUND_RATE = 10.0
"""Segments a second at which what surrounds the look is counted for the streams of a core."""

RATES = (2.0, AROUND_RATE, 100.0)
MIX_SEGMENTS = 400
"""Segments of the worker with tiers."""

HEIGHTS, GOPS = (360, 720, 1080), (1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Table:
    """One table. lines: Markdown. values: the same for machines."""

    title: str
    lines: list[str]
    values: Any


class Bench:
    """The tables of one run, which share what is measured once. folder: for footage and workers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._footage: dict[tuple[int, float], Content] = {}
        self._looks: dict[tuple[str, float], Look] = {}
        self._around: list[around.Cost] = []
        self._shipped: Content | None = None

    def looks(self) -> Table:
        """The full look against the full decode and against the physical limit; streams per core."""
        contents = [self._demo(), *(self._content(height) for height in HEIGHTS)]
        rows = [self._look(content) for content in contents]
        surrounds = self._surrounds(AROUND_RATE)
        lines = [
            "| segments of 2 s | full decode, ms | packets alone | with the keyframe | all pictures, in a process that runs "
            "| full look (sampler + model), ms | full looks for a decode "
            "| glances of packets | glances with a keyframe | full looks: streams per core |",
            f"|{'---|' * 10}",
        ]
        for row in rows:
            shares = " | ".join(f"{part / row.decode:.2f}" for part in (row.demux, row.keyframe, row.pictures))
            streams = 1000 * row.content.gop / (row.full + surrounds)
            looked = "".join(f"| **{row.decode / part:.1f}** " for part in (row.headers, row.glance))
            lines.append(
                f"| {row.content.name} | {row.decode:.0f} | {shares} | {row.full:.0f} ({row.sample:.0f} + {row.score:.0f}) "
                f"| **{row.decode / row.full:.2f}** {looked}| {streams:.1f} |"
            )
        return Table("The look", lines, [_plain(row) for row in rows])

    def around(self) -> Table:
        """What surrounds the look, and how it grows with the streams."""
        self._surrounds(AROUND_RATE)
        lines = ["| streams of one worker | CPU ms a segment | at rest, CPU ms a second |", "|---|---|---|"]
        for cost in self._around:
            lines.append(f"| {cost.rate * around.SEGMENT_SECONDS:.0f} | {cost.ms:.2f} | {cost.idle_ms:.0f} |")
        return Table("What surrounds it", lines, [asdict(cost) for cost in self._around])

    def stages(self) -> Table:
        """Where a full look's time goes, today and with a cheaper specification for the next model."""
        say("stages of a look")
        rows = stages.stage_table(("720p", "demo"), SPECIFICATIONS, repeats=2)
        return Table("Stages of a look, as shares of the full decode", stages.printed(rows).splitlines(), rows)

    def gops(self) -> Table:
        """How the costs of a second of a stream grow with its GOP, which is the length of its segments."""
        rows = [self._look(self._content(720, gop)) for gop in GOPS]
        lines = [
            "| 720p, seconds of a GOP and of a segment | full decode | packets alone | with the keyframe | full look |",
            "|---|---|---|---|---|",
        ]
        for row in rows:
            parts = (row.decode, row.demux, row.keyframe, row.full)
            lines.append(f"| {row.content.gop:g} | {' | '.join(f'{part / row.content.gop:.1f}' for part in parts)} |")
        return Table("Per second of a stream, by its GOP: CPU ms", lines, [_plain(row) for row in rows])

    def worker(self) -> Table:
        """A real worker on 720p: a segment's whole way, and the memory of its processes."""
        content = self._content(720)
        decode = looks.yardstick(content.segments)
        full = whole.measure(content.segments, count=40, streams=8, folder=self._folder)
        decode = (decode + looks.yardstick(content.segments)) / 2
        own, child = full.memory_mb
        lines = [
            "| a worker of 720p | |",
            "|---|---|",
            f"| full decode, CPU ms a segment | {decode:.0f} |",
            f"| whole way of a segment, CPU ms | {full.ms:.0f}, of which the sampling child {full.ms - full.own_ms:.0f} |",
            f"| segments for a decode | {decode / full.ms:.2f} |",
            *self._mix(),
            f"| memory: worker with its model, and each sampling child, MiB | {own:.0f}, {child:.0f} |",
        ]
        return Table("The whole way", lines, asdict(full) | {"decode": decode})

    def _mix(self) -> list[str]:
        """The whole way with tiers, on streams of the demo clip, which looks good: one that looks bad gets full looks only.

        Every stream begins with two or three of them.
        """
        segments = self._demo().segments
        decode = looks.yardstick(segments)
        mix = whole.measure(segments, MIX_SEGMENTS, streams=8, folder=self._folder, FVQ_TIERS="on")
        decode = (decode + looks.yardstick(segments)) / 2
        looks_made = ", ".join(f"{count} {tier}" for tier, count in sorted(mix.tiers.items()))
        return [
            f"| the demo clip at 720p with tiers ({looks_made}): full decode, whole way, CPU ms | {decode:.0f}, {mix.ms:.0f} |",
            f"| segments for a decode, with tiers | {decode / mix.ms:.2f} |",
        ]

    def start(self) -> Table:
        """What commands cost before they do anything."""
        starts = startup.measure()
        lines = ["| command | CPU s | ratio | largest process, MiB |", "|---|---|---|---|"]
        for row in starts:
            memory = f"{row.memory_mb:.0f}" if row.memory_mb is not None else ""
            lines.append(f"| {row.name} | {row.cpu_s:.2f} | {row.ratio:.1f} | {memory} |")
        return Table("Start-up", lines, [asdict(row) for row in starts])

    def _demo(self) -> Content:
        self._shipped = self._shipped or looks.demo(self._folder)
        return self._shipped

    def _content(self, height: int, gop: float = 2.0) -> Content:
        if (height, gop) not in self._footage:
            self._footage[height, gop] = looks.footage(self._folder, height, gop)
        return self._footage[height, gop]

    def _look(self, content: Content) -> Look:
        key = content.name, content.gop
        if key not in self._looks:
            say(f"looking at {content.name}, GOP {content.gop:g} s")
            self._looks[key] = looks.look_at(content)
        return self._looks[key]

    def _surrounds(self, rate: float) -> float:
        """CPU milliseconds a segment around the look, at one of `RATES`."""
        if not self._around:
            say("what surrounds the look")
            self._around = around.run(list(RATES), 8.0, {"everything": around.EVERYTHING})
        return next(cost.ms for cost in self._around if cost.rate == rate)


TABLES: dict[str, Callable[[Bench], Table]] = {
    "looks": Bench.looks,
    "around": Bench.around,
    "stages": Bench.stages,
    "gops": Bench.gops,
    "worker": Bench.worker,
    "start": Bench.start,
}


def _plain(row: Look) -> dict[str, Any]:
    return asdict(row) | {"content": row.content.name, "gop": row.content.gop, "full": row.full, "ratio": row.decode / row.full}


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    arguments = parser.parse_args()
    if arguments.write and arguments.tables != list(TABLES):
        parser.error("--write needs all tables")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as name:
        bench = Bench(Path(name))
        tables = {table: TABLES[table](bench) for table in arguments.tables}
    seconds = time.monotonic() - started
    if arguments.json:
        print(json.dumps({name: table.values for name, table in tables.items()} | {"seconds": round(seconds)}))
        return
    note = f"{processor()}, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the end; {seconds:.0f} s in all."
    lines = [line for table in tables.values() for line in ("", f"**{table.title}**", "", *table.lines)]
    print("\n".join([*lines[1:], "", note]))
    if arguments.write:
        replace_marked(PAGE, COMMAND, [*lines, "", note])


if __name__ == "__main__":
    main()
