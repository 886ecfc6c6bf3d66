"""`fvq dead-letters`: list and show what could not be answered, send it again, remove it."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, lists, load_settings, time_of
from streams.cli.table import print_table
from streams.errors import SettingsError
from streams.text import counted, printable

if TYPE_CHECKING:
    from streams.dead_letters.kept import Selection

app = typer.Typer(help="Dead letters: messages that could not be answered.")

IdsArgument = Annotated[list[str] | None, typer.Argument(help="Ids of letters, as `ls` shows them.")]
KindOption = Annotated[list[str] | None, typer.Option(help="Only letters of this kind; may be repeated.")]
StreamOption = Annotated[list[str] | None, typer.Option(help="Only letters of this stream; may be repeated.")]
SinceOption = Annotated[str | None, typer.Option(help="Only letters from this time on: 2h ago (s, m, h, d), or ISO 8601.")]
UntilOption = Annotated[str | None, typer.Option(help="Only letters before this time.")]
AllFlag = Annotated[bool, typer.Option("--all", help="All letters, where nothing else says which.")]


@app.callback(invoke_without_command=True)
def dead_letters(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Dead letters: messages that could not be answered. Without a command: `fvq dead-letters ls`."""
    if lists(context, as_json):
        dead_letters_ls(as_json=as_json)


@app.command("ls")
def dead_letters_ls(
    kind: KindOption = None, stream: StreamOption = None, since: SinceOption = None, until: UntilOption = None,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """List letters, oldest first."""
    from streams.dead_letters.topic import DeadLetters

    selection = _select(None, kind, stream, since, until)
    with DeadLetters(parts.connection(load_settings())) as letters:
        listed = [(letter.time, letter.summary(state)) for letter, state in letters.letters(selection)]
    summaries = [summary for _, summary in sorted(listed, key=lambda pair: pair[0])]
    if as_json:
        print(json.dumps(summaries))
        return
    rows = []
    for letter in summaries:
        time = datetime.fromisoformat(letter["time"]).astimezone(UTC)
        shown = (letter["id"], f"{time:%Y-%m-%d %H:%M:%S}", letter["stream_id"], letter.get("kind", ""), letter["state"])
        rows.append((*shown, letter.get("reason", "")))
    columns = ("id", "time (UTC)", "stream", "kind", "state", "reason")
    print_table(columns, rows, title=counted(len(rows), "dead letter"), whole=("id", "stream"))


@app.command("show")
def dead_letters_show(letter: Annotated[str, typer.Argument(help="The letter's id.")]) -> None:
    """Print all of a letter as JSON, with the message that could not be answered."""
    from streams.dead_letters.topic import DeadLetters

    with DeadLetters(parts.connection(load_settings())) as letters:
        kept, state = letters.find(letter)
    print(json.dumps(kept.whole(state), indent=1))


@app.command("replay")
def dead_letters_replay(
    ids: IdsArgument = None, kind: KindOption = None, stream: StreamOption = None, since: SinceOption = None,
    until: UntilOption = None, everything: AllFlag = False,
    again: Annotated[bool, typer.Option("--again", help="Also letters that were sent again before.")] = False,
    as_json: JsonFlag = False,
) -> None:  # fmt: skip
    """Send letters' original bytes to the workers again. A letter that was sent again before is left out."""
    from streams.dead_letters.topic import DeadLetters

    selection = _some(_select(ids, kind, stream, since, until), everything)
    with DeadLetters(parts.connection(load_settings())) as letters:
        replayed = letters.replay(selection, again)
    missing = len(selection.ids) - replayed.sent - replayed.before - len(replayed.cannot) if selection.ids else 0
    if as_json:
        print(json.dumps({"sent": replayed.sent, "sent_before": replayed.before, "cannot": replayed.cannot, "missing": missing}))
    else:
        for letter_id, reason in replayed.cannot.items():
            print(f"fvq: {printable(letter_id)} cannot be sent again: {reason}", file=sys.stderr)
        if missing:
            print(f"fvq: {counted(missing, 'named letter is', 'named letters are')} not there", file=sys.stderr)
        if not selection.ids or missing < len(selection.ids):
            print(f"{counted(replayed.sent, 'letter')} sent again, {replayed.before} left out, sent before")
    raise typer.Exit(1 if replayed.cannot or missing else 0)


@app.command("rm")
def dead_letters_rm(
    ids: IdsArgument = None, kind: KindOption = None, stream: StreamOption = None, since: SinceOption = None,
    until: UntilOption = None, everything: AllFlag = False,
) -> None:  # fmt: skip
    """Take letters off the list for good. Kafka deletes their bytes when the topic's retention is over."""
    from streams.dead_letters.topic import DeadLetters

    selection = _some(_select(ids, kind, stream, since, until), everything)
    with DeadLetters(parts.connection(load_settings())) as letters:
        removed = letters.remove(selection)
    print(f"{counted(removed, 'letter')} removed")
    raise typer.Exit(1 if removed < len(selection.ids) else 0)


def _select(
    ids: list[str] | None, kinds: list[str] | None, streams: list[str] | None, since: str | None, until: str | None
) -> Selection:
    from streams.dead_letters.kept import Selection
    from streams.metrics import DEAD_LETTER_KINDS

    if unknown := [kind for kind in kinds or () if kind not in DEAD_LETTER_KINDS]:
        raise SettingsError("--kind", f"{unknown[0]!r} is none of {', '.join(DEAD_LETTER_KINDS)}")
    now = datetime.now(UTC)
    return Selection(
        frozenset(ids or ()),
        frozenset(kinds or ()),
        frozenset(streams or ()),
        time_of("--since", since, now) if since is not None else None,
        time_of("--until", until, now) if until is not None else None,
    )


def _some(selection: Selection, everything: bool) -> Selection:
    """Raise `SettingsError` where it is not said which letters are meant."""
    if selection.everything != everything:
        raise SettingsError("IDS", "name letters by their ids, by --kind, --stream, --since or --until, or all of them by --all")
    return selection
