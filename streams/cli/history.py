"""`fvq history`: the past scores in the sink."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings, time_of
from streams.cli.table import progress_shown
from streams.errors import SettingsError
from streams.text import counted, printable

if TYPE_CHECKING:
    from streams.history.fill import Deletions, Filled, Named
    from streams.kafka.spans import TimeSpan
    from streams.settings import Settings

DELETED = "of streams that were deleted later, by `fvq forget` or `fvq queue rm --stream`"
NOT_ERASED = "the stream was deleted meanwhile, and what was written of it could not be deleted again"

app = typer.Typer(help="The past scores in the sink.", no_args_is_help=True)


@app.callback()
def history() -> None:
    """The past scores in the sink."""


@app.command("fill")
def history_fill(
    start: Annotated[
        str, typer.Option("--from", help="Scores that were given from this time on: 2h ago (s, m, h, d), or ISO 8601, UTC.")
    ],
    until: Annotated[str | None, typer.Option("--to", help="Scores before this time. Default: all up to now.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Write the scores that Kafka still has into a restored or a new sink; what is there already is not doubled.

    The sink is that of the settings. Workers may run meanwhile: no offset of theirs moves. Exit code 1 where not all is written.
    """
    import asyncio

    from streams.events import SCORES_TOPIC
    from streams.history.fill import Deletions
    from streams.kafka.spans import TimeSpan
    from streams.privacy.forget import forget_scores
    from streams.queue.topic import QueueTopic

    now = datetime.now(UTC)
    first, last = time_of("--from", start, now), time_of("--to", until, now) if until is not None else None
    if first >= (last or now):
        raise SettingsError("--from", f"{start} is not before {f'--to {until}' if until else 'now'}")
    settings = load_settings()
    connection = parts.connection(settings)
    places = parts.places(settings)
    with QueueTopic(connection) as topic, TimeSpan(connection, connection.named(SCORES_TOPIC), first, last) as span:
        deletions = Deletions(topic.refresh, lambda stream: forget_scores(places, stream))
        place, filled = asyncio.run(_fill(settings, span, deletions))
    if as_json:
        print(json.dumps(_report(place, span, filled) | {"from": first.isoformat(), "to": (last or now).isoformat()}))
    else:
        _say(place, span, filled)
    raise typer.Exit(0 if filled.is_whole else 1)


async def _fill(settings: Settings, span: TimeSpan, deletions: Deletions) -> tuple[str, Filled]:
    """Fill the settings' sink; returns a line about it, and what was done."""
    from streams.history.fill import fill

    sink = parts.sink(settings)
    try:
        place = await sink.check()
        with progress_shown() as show:
            return place, await fill(span, sink, deletions, show)
    finally:
        await sink.close()


def _say(place: str, span: TimeSpan, filled: Filled) -> None:
    _name(filled.unreadable, "cannot be read, and is passed over", "more cannot be read")
    _name(filled.refused, "is refused by the sink", "more are refused by the sink")
    if span.cut_off:
        print(f"fvq: {_cut_off(span)}", file=sys.stderr)
    if filled.deleted:
        print(f"fvq: {counted(filled.deleted, 'score')} left out: {DELETED}", file=sys.stderr)
    for stream in filled.erased:
        print(f"fvq: {printable(stream)} was deleted meanwhile: what was written of it is deleted again", file=sys.stderr)
    _name(filled.not_erased, f"{NOT_ERASED}; run `fvq forget` for it again", f"more: {NOT_ERASED}")
    print(f"{counted(filled.written, 'score')} written into {printable(place)}, of {counted(filled.read, 'message')}")
    if filled.derived:
        print(printable(filled.derived))
    if filled.failure:
        words = "what is written stays; mend that and give the command again"
        print(f"fvq: not all is written: {printable(filled.failure)}; {words}", file=sys.stderr)


def _name(named: Named, problem: str, more: str) -> None:
    """Print what went wrong on standard error."""
    for sentence in named.first:
        print(f"fvq: {printable(sentence)}: {problem}", file=sys.stderr)
    if named.count > len(named.first):
        print(f"fvq: {named.count - len(named.first)} {more}", file=sys.stderr)


def _cut_off(span: TimeSpan) -> str:
    numbers = ", ".join(map(str, span.cut_off))
    return f"Kafka has deleted messages of partition {numbers}, perhaps some from --from on: they cannot be filled"


def _report(place: str, span: TimeSpan, filled: Filled) -> dict[str, object]:
    """For scripts."""
    return {
        "sink": place,
        "read": filled.read,
        "written": filled.written,
        "unreadable": {"count": filled.unreadable.count, "first": filled.unreadable.first},
        "refused": {"count": filled.refused.count, "first": filled.refused.first},
        "deleted_streams": filled.deleted,
        "deleted_again": filled.erased,
        "not_deleted_again": {"count": filled.not_erased.count, "first": filled.not_erased.first},
        "derived": filled.derived,
        "cut_off": span.cut_off,
        "failure": filled.failure,
        "ok": filled.is_whole,
    }
