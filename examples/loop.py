"""The whole loop: a stream is scored, its hard clips are queued, rated and learned, and the worker scores them again.

    python examples/loop.py [--json] [--keep FOLDER] [--broker HOST:PORT]

Every step is one that a user runs: `fvq worker`, the rating store behind `fvq rate`, `fvq train --from-queue`,
`fvq promote`. Only the raters and their clips are scripted (`scripted_raters.py`), and the clips are played as live streams
by `stream_player.py`. The demo removes the shell's FVQ_ settings from its environment, so that it touches no real system:
it starts the embedded broker, or uses an empty Kafka that --broker names.
Exits with 1 where the loop does not close: the gate refuses the new model, or its scores are not closer to the ratings.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from scripted_raters import make_base, make_clips, rate
from stream_player import messages_on, play, play_until_model

from scorer.process import die_with_parent
from scorer.registry import Registry
from streams import parts
from streams.events import SCORES_TOPIC, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.progress import wait_for_groups
from streams.kafka.topics import create_topics
from streams.settings import load_settings

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "training/recipes/nano_adapter.yaml"

GATE = "reference_srcc_drop: 0.03\n"
"""On 34 reference clips a rank correlation is uncertain by .02; the recipe's limit of .01 is for some hundred of them."""


def main() -> int:
    """Run the loop; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")
    parser.add_argument("--keep", type=Path, help="new folder for all files of the run, instead of a temporary one")
    parser.add_argument("--broker", help="an empty Kafka, instead of the embedded broker")
    arguments = parser.parse_args()
    console = Console(stderr=arguments.json)
    with ExitStack() as stack:
        folder = arguments.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fvq-loop-")))
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            parser.error(f"{folder} is not empty: --keep wants a new folder")
        broker = arguments.broker or stack.enter_context(EmbeddedBroker()).address
        report = close_loop(console, broker, folder.resolve())
    if arguments.json:
        print(json.dumps(report))
    return 0 if report["closed"] else 1


def close_loop(console: Console, broker: str, folder: Path) -> dict[str, Any]:
    """Run all steps; returns the report: `closed`, the gate's verdict, and if it passed the scores before and after."""

    def say(step: str) -> None:
        console.print(f"[bold]{step}[/bold]", highlight=False, soft_wrap=True)

    use_own_settings(broker, folder)
    settings = load_settings()
    create_topics(Connection(broker), partitions=4, replication=1)
    if messages_on(broker):
        raise SystemExit(f"loop: {broker} has messages already; give a Kafka that nobody uses")

    say("1  five streams of a face, each with good and bad segments")
    clips = make_clips(folder / "streams")
    base, reference = make_base(folder / "base")

    with worker(folder / "worker.log") as running:
        say("2  the worker scores them, and queues the clips that it finds hard")
        answers = play(broker, clips, "before", running)
        before = answers.scores
        wait_for_groups(Connection(broker), [parts.group(settings).of("harvest").name], SCORES_TOPIC, answers.ends, 60)
        version = next(iter(before.values())).model
        queued, _ = parts.queue(settings).read()
        console.print(f"{len(before)} segments by {version.name}@{version.version}, {len(queued)} clips queued")

        say("3  three raters rate the queue: softness is twice as bad to them")
        ratings = rate(settings, clips, before)
        console.print(f"{ratings} ratings")

        say("4  fvq train --from-queue: an adapter learns their opinion, with replay of the base data")
        model = folder / "adapter"
        fvq("train", "--from-queue", "--recipe", str(RECIPE), "--data", str(base), "--out", str(model), out=console)

        say("5  fvq promote: the gate")
        limits = folder / "gate.yaml"
        limits.write_text(GATE)
        promote = ("promote", str(model), "--name", "nano", "--reference", str(reference), "--gate", str(limits), "--json")
        promoted = fvq(*promote, check=False)
        verdict = json.loads(promoted.stdout) if promoted.stdout.strip() else {"passed": False, "checks": []}
        console.print(gate_table(verdict))
        if not verdict["passed"]:
            console.print(f"[red]refused[/red] {promoted.stderr}")
            return {"closed": False, "gate": verdict}

        say("6  the running worker takes the new version over, and scores the same clips")
        wanted = Registry(str(folder / "data/models"), folder / "data/cache").current("nano")
        after = play_until_model(broker, clips, str(wanted), running)
    return compare(console, folder, before, after, verdict)


def use_own_settings(broker: str, folder: Path) -> None:
    """Replace every FVQ_ variable of the shell by those of this run; the commands below inherit them."""
    for name in [name for name in os.environ if name.startswith("FVQ_")]:
        del os.environ[name]
    os.environ |= {
        "FVQ_BROKER": broker,
        "FVQ_DATA_DIR": str(folder / "data"),
        "FVQ_MEDIA_ROOTS": str(folder),
        "FVQ_LIVE_WINDOW": "off",
        "FVQ_ALERTS": "false",
        "FVQ_HARVEST_SCORE": "90",
        "FVQ_HARVEST_PER_HOUR": "20",
        "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_WEB_PORT": "0",
        "FVQ_LOG_LEVEL": "warning",
        "FVQ_GROUP": f"loop-{folder.name}",
    }


@contextmanager
def worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A running `fvq worker`; it is stopped at the end of the context."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "worker"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=die_with_parent,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def fvq(*arguments: str, check: bool = True, out: Console | None = None) -> subprocess.CompletedProcess[str]:
    """Run one `fvq` command. check: end the demo where it fails, and show its stderr. out: print its stdout there."""
    command = [sys.executable, "-m", "streams.cli", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=None if check else subprocess.PIPE, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"fvq {arguments[0]} ended with code {done.returncode}; its own message is above")
    if out is not None:
        out.print(done.stdout.strip(), highlight=False, soft_wrap=True)
    return done


def gate_table(verdict: dict[str, Any]) -> Table:
    """The gate's checks, one in a row."""
    table = Table(title=f"{verdict.get('current')} -> {verdict.get('candidate')}", title_justify="left")
    for column in ("clips", "figure", "current", "candidate", "limit", ""):
        table.add_column(column, justify="left" if column in ("clips", "figure", "") else "right")
    for check in verdict["checks"]:
        sign = "≥" if check["at_least"] else "≤"
        figures = (f"{check[name]:.3f}" for name in ("current", "candidate"))
        passed = "passed" if check["passed"] else "refused"
        table.add_row(check["clips"], check["figure"], *figures, f"{sign} {check['limit']:.3f}", passed)
    return table


def compare(
    console: Console, folder: Path, before: dict[Path, SegmentScore], after: dict[Path, SegmentScore], verdict: dict[str, Any]
) -> dict[str, Any]:
    """Print and return both versions' scores of the rated clips beside the ratings, and their mean absolute errors.

    The errors are over clips of streams that the new version was not trained on.
    """
    with (folder / "data/rated.csv").open(newline="") as file:
        rated = {row["example_id"]: float(row["mos"]) for row in csv.DictReader(file)}
    with (folder / "adapter/work/rated.csv").open(newline="") as file:
        split_of = {Path(row["path"]).stem: row["split"] for row in csv.DictReader(file)}
    rows = []
    for path, old in before.items():
        # The id of a queued example is the digest of its bytes.
        example_id, new = hashlib.sha256(path.read_bytes()).hexdigest(), after[path]
        if example_id in rated and old.score is not None and new.score is not None:
            row = {"clip": path.stem, "split": split_of.get(example_id, ""), "rated": rated[example_id]}
            rows.append(row | {"before": old.score, "after": new.score})
    table = Table(title="the same clips, before and after", title_justify="left")
    for column in ("clip", "", "rated", "before", "after"):
        table.add_column(column, justify="left" if column in ("clip", "") else "right")
    for row in sorted(rows, key=lambda row: (row["split"], row["clip"])):
        seen = "not trained on" if row["split"] == "test" else ""
        table.add_row(row["clip"], seen, *(f"{row[name]:.1f}" for name in ("rated", "before", "after")))
    console.print(table)
    unseen = [row for row in rows if row["split"] == "test"]
    errors = {
        name: sum(abs(row[name] - row["rated"]) for row in unseen) / len(unseen) if unseen else float("nan")
        for name in ("before", "after")
    }
    models = [f"{model.name}@{model.version}" for model in (next(iter(run.values())).model for run in (before, after)) if model]
    console.print(
        f"{models[0]}: {errors['before']:.1f} points from the ratings of streams that were not trained on; "
        f"{models[1]}: {errors['after']:.1f}",
        highlight=False,
        soft_wrap=True,
    )
    closed = errors["after"] < errors["before"]
    console.print("[green]the loop is closed[/green]" if closed else "[red]the new version is not closer[/red]")
    return {"closed": closed, "models": models, "error": errors, "clips": rows, "gate": verdict}


if __name__ == "__main__":
    sys.exit(main())
