"""`fvq forget`: removes a stream from every store, and says what it did, where, and what it cannot reach."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings, told_of
from streams.errors import SettingsError
from streams.text import printable

if TYPE_CHECKING:
    from streams.privacy.step import Step


def forget(
    stream: Annotated[str, typer.Argument(help="The stream's id; after `--` where it begins with a dash.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted, and where.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Delete all that is kept of a stream: clips, pictures, ratings, scores, states, cut segments, exports."""
    from streams.privacy.forget import UNREACHABLE, checked_id, forget_stream

    with told_of("STREAM"):
        stream = checked_id(stream)
    settings = load_settings()
    places = parts.places(settings)
    if not (dry_run or yes):
        _ask(stream)
    steps = []
    for step in forget_stream(places, stream, dry_run):
        steps.append(step)
        if not as_json:
            print(_line(step, dry_run), flush=True)
    failed = [step for step in steps if step.outcome == "failed"]
    if as_json:
        report = {"stream_id": stream, "dry_run": dry_run, "steps": [asdict(step) for step in steps], "unreachable": UNREACHABLE}
        print(json.dumps(report | {"ok": not failed}))
    else:
        print("not reached by this command:")
        for words in UNREACHABLE:
            print(f"  - {words}")
    if failed:
        words = "store" if len(failed) == 1 else "stores"
        print(f"fvq: {len(failed)} {words} failed: mend that and run this again", file=sys.stderr)
    raise typer.Exit(1 if failed else 0)


def _ask(stream: str) -> None:
    """Ask on a terminal; elsewhere nobody would answer. Raises `SettingsError`."""
    if not _may_ask():
        raise SettingsError("--yes", "is needed where nobody can be asked; --dry-run shows what would be deleted")
    question = f"Delete all that is kept of the stream {printable(stream)}, for good?"
    if not typer.confirm(question, err=True):
        raise typer.Exit(1)


def _may_ask() -> bool:
    return sys.stdin.isatty()


def _line(step: Step, dry_run: bool) -> str:
    """A step as one line."""
    count = f"{step.count} {'would be deleted' if dry_run else 'deleted'}"
    done = {
        "deleted": count,
        "would-delete": count,
        "nothing": "nothing",
        "part": f"{count}, not all" if step.count else "not all",
        "failed": "FAILED",
    }[step.outcome]
    return printable(f"{step.store}: {done}" + (f"; {step.text}" if step.text else "") + f" ({step.where})")
