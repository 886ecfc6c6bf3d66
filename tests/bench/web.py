"""`make bench-web`: the wall's page with 2,000 streams in a real Chromium: frames, long tasks, from an event to its pixel.

    python -m tests.bench.web [--streams 2000] [--seconds 30] [--json] [--write]

A seeded fleet (`tests.support.fleet`: each stream has a segment of 2 s, some have three renditions) is served in a process of
its own. A browser of 1920 x 1080 shows all streams: at rest, then scrolling by 40 pixels each frame; then the mosaic, at rest.

Measured is inside the browser. A frame is the time between two calls of requestAnimationFrame. From a message to its pixel:
until the first task after the frame that drew it. From an event to its pixel: the same, and the time that the event waited for
its message, evenly spread over the time since the message before. A long task is one over 50 ms. Heap: after a collection.
--write puts the table into docs/web.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from selenium import webdriver

from streams.plan.measure import processor
from streams.ports import free_port
from tests.bench.arguments import parser_of
from tests.bench.progress import say
from tests.support.browser import chromium, set_size
from tests.support.documentation import replace_marked
from tests.support.processes import ROOT
from tests.support.waiting import wait_for

PAGE = ROOT / "docs/web.md"
WARM_UP = 5.0
"""Seconds after the first rows that are not counted: modules are compiled, pictures loaded."""

WATCH = """
window.measured = { frames: [], tasks: [], messages: [] };
const After = class {
  constructor(run) {
    const channel = new MessageChannel();
    channel.port1.onmessage = run;
    this.post = () => channel.port2.postMessage(0);
  }
};
const OwnSocket = window.WebSocket;
window.WebSocket = class extends OwnSocket {
  constructor(...given) {
    super(...given);
    let before = performance.now();
    this.addEventListener("message", (event) => {
      if (!event.data.startsWith('{"type":"scores"')) return;
      const came = performance.now();
      const gap = came - before;
      before = came;
      const after = new After(() => window.measured.messages.push([gap, performance.now() - came]));
      requestAnimationFrame(() => after.post());
    });
  }
};
new PerformanceObserver((list) => { for (const task of list.getEntries()) window.measured.tasks.push(task.duration); })
  .observe({ type: "longtask" });
let last = performance.now();
const frame = (now) => { window.measured.frames.push(now - last); last = now; requestAnimationFrame(frame); };
requestAnimationFrame(frame);
"""
"""Runs before the page's own modules."""

SCROLL = """
const list = document.getElementById("list");
let down = true;
const step = () => {
  if (!window.scrolling) return;
  list.scrollTop += down ? 40 : -40;
  if (list.scrollTop <= 0) down = true;
  if (list.scrollTop + list.clientHeight >= list.scrollHeight - 1) down = false;
  requestAnimationFrame(step);
};
window.scrolling = true;
requestAnimationFrame(step);
"""


@dataclass(frozen=True)
class Result:
    """One stretch of watching. Times in milliseconds, heap in MB, main_thread in milliseconds a second."""

    name: str
    fps: float
    frame_p50: float
    frame_p99: float
    long_tasks: int
    longest_task: float
    message_p50: float
    message_p99: float
    event_p50: float
    event_p95: float
    main_thread: float
    heap: float
    nodes: int


@contextmanager
def served(streams: int) -> Iterator[str]:
    """A seeded fleet in a process of its own; gives its address."""
    port = free_port("127.0.0.1")
    command = [sys.executable, "-m", "tests.support.fleet", "--port", str(port), "--streams", str(streams)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        if not address:
            raise SystemExit("the fleet's server did not start")
        yield address
    finally:
        process.terminate()
        process.wait()


def watch(browser: webdriver.Chrome, name: str, seconds: float) -> Result:
    """Watch the page as it is for so long."""
    say(f"{name}, {seconds:g} s")
    browser.execute_script("window.measured = { frames: [], tasks: [], messages: [] };")
    busy = _metrics(browser)["TaskDuration"]
    begun = time.monotonic()
    time.sleep(seconds)
    measured = browser.execute_script("return window.measured")
    took = time.monotonic() - begun
    busy = _metrics(browser)["TaskDuration"] - busy
    browser.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
    frames, messages = np.array(measured["frames"]), np.array(measured["messages"])
    gaps, drawn = messages[:, 0], messages[:, 1]
    # Events come evenly while the server gathers them for the next message.
    events = (np.linspace(0.025, 0.975, 20)[:, None] * gaps + drawn).ravel()
    return Result(
        name=name,
        fps=round(len(frames) / took, 1),
        frame_p50=round(float(np.median(frames)), 1),
        frame_p99=round(float(np.percentile(frames, 99)), 1),
        long_tasks=len(measured["tasks"]),
        longest_task=round(max(measured["tasks"], default=0.0)),
        message_p50=round(float(np.median(drawn)), 1),
        message_p99=round(float(np.percentile(drawn, 99)), 1),
        event_p50=round(float(np.median(events))),
        event_p95=round(float(np.percentile(events, 95))),
        main_thread=round(busy / took * 1000),
        heap=round(_metrics(browser)["JSHeapUsedSize"] / 2**20, 1),
        nodes=browser.execute_script("return document.querySelectorAll('*').length"),
    )


def _metrics(browser: webdriver.Chrome) -> dict[str, float]:
    answer: dict[str, Any] = browser.execute_cdp_cmd("Performance.getMetrics", {})
    return {metric["name"]: metric["value"] for metric in answer["metrics"]}


def run(streams: int, seconds: float) -> list[Result]:
    """Watch the page at rest, while it scrolls, and as a mosaic."""
    # Chromium cannot remove a profile whose last files it still writes.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        served(streams) as address,
        chromium(Path(folder)) as browser,
    ):
        set_size(browser, 1920, 1080)
        browser.execute_cdp_cmd("Performance.enable", {})
        browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        browser.get(f"{address}/?all=1")
        rows = "return document.querySelectorAll('.row:not([hidden])').length > 20"
        wait_for("the rows", lambda: bool(browser.execute_script(rows)), 60)
        time.sleep(WARM_UP)
        results = [watch(browser, "at rest", seconds)]
        browser.execute_script(SCROLL)
        results.append(watch(browser, "scrolling", seconds / 3))
        browser.get(f"{address}/?all=1&view=mosaic")
        cells = "return document.querySelectorAll('#mosaic img:not([hidden])').length > 20"
        wait_for("the mosaic", lambda: bool(browser.execute_script(cells)), 60)
        time.sleep(WARM_UP)
        results.append(watch(browser, "mosaic", seconds / 3))
        return results


def table(results: list[Result]) -> list[str]:
    """The results as a table in Markdown."""
    lines = [
        "| | frames a second | frame p50, p99 | long tasks (longest) | message to pixel p50, p99 | event to pixel p50, p95"
        " | main thread | heap | nodes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        cells = (
            result.name,
            str(result.fps),
            f"{result.frame_p50}, {result.frame_p99} ms",
            f"{result.long_tasks} ({result.longest_task:.0f} ms)",
            f"{result.message_p50}, {result.message_p99} ms",
            f"{result.event_p50:.0f}, {result.event_p95:.0f} ms",
            f"{result.main_thread} ms/s",
            f"{result.heap} MB",
            str(result.nodes),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the table into docs/web.md")
    options = parser.parse_args()
    results = run(options.streams, options.seconds)
    if options.json:
        print(json.dumps([asdict(result) for result in results]))
        return
    load = os.getloadavg()[0]
    note = (
        f"{options.streams:,} streams, {options.seconds:.0f} s at rest; {processor()}, {os.cpu_count()} cores, software"
        f" rendering, load average {load:.0f} at the end, the seeded fleet and its server on the same machine."
    )
    lines = [*table(results), "", note]
    print("\n".join(lines))
    if options.write:
        replace_marked(PAGE, "make bench-web", lines)


if __name__ == "__main__":
    main()
