"""`fvq sources`: the live sources that ingesters follow."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, lists, load_settings
from streams.cli.table import print_table
from streams.errors import SettingsError
from streams.text import counted

app = typer.Typer(help="The live sources that `fvq ingest` follows, from Kafka.")


@app.callback(invoke_without_command=True)
def sources(context: typer.Context, as_json: JsonFlag = False) -> None:
    """The live sources that `fvq ingest` follows, from Kafka. Without a command: `fvq sources ls`."""
    if lists(context, as_json):
        sources_ls(as_json=as_json)


@app.command("ls")
def sources_ls(
    state: Annotated[list[str] | None, typer.Option(help="Only sources in this state, as failing; may be repeated.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream's sources.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List the sources of all ingesters: state, since when, why. A source that nobody follows any more keeps its last state."""
    from streams.ingest.listing import WITHOUT_STATE, item_of, read_sources
    from streams.ingest.states import STATES

    states = (*STATES, WITHOUT_STATE)
    for name in state or []:
        if name not in states:
            raise SettingsError("--state", f"{name!r} is none of {', '.join(states)}")
    known = [item_of(source) for source in read_sources(parts.connection(load_settings()))]
    items = [item for item in known if item["state"] in (state or states) and stream in (None, item["stream_id"])]
    if as_json:
        print(json.dumps(items))
        return
    rows = [
        (
            item["stream_id"], item["rendition"] or "", item["state"], (item["since"] or "")[:19].replace("T", " "),
            item["source"], item["reason"],
        )
        for item in items
    ]  # fmt: skip
    columns = ("stream", "rendition", "state", "since (UTC)", "source", "why")
    print_table(columns, rows, title=counted(len(rows), "source"), whole=("stream", "rendition"))
