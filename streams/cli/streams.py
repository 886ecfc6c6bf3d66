"""`fvq streams`: the streams as the wall sees them."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, lists, load_settings
from streams.text import counted

app = typer.Typer(help="The streams as the wall sees them; `fvq web` must run.")


@app.callback(invoke_without_command=True)
def group(context: typer.Context, as_json: JsonFlag = False) -> None:
    """The streams as the wall sees them; `fvq web` must run. Without a command: `fvq streams ls`."""
    if lists(context, as_json):
        streams_ls(as_json=as_json)


@app.command("ls")
def streams_ls(
    worst: Annotated[bool, typer.Option("--worst", help="The worst first, as on the wall. Default: by id.")] = False,
    below: Annotated[float | None, typer.Option(min=0, max=100, help="Only streams with a lower score, points.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="NAME:VALUE: only streams with this label; repeated, several values of a name mean any."),
    ] = None,
    state: Annotated[list[str] | None, typer.Option(help="Only streams in this state, as black; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most streams.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List streams: score, usual score, state, since when. It asks the wall at FVQ_WEB_URL, or on this machine."""
    from streams.web.ask import items_of, table_of

    query: dict[str, str | list[str]] = {"sort": "worst" if worst else "id", "label": label or [], "state": state or []}
    if below is not None:
        query["below"] = f"{below:g}"
    known = list(items_of(parts.wall_address(load_settings()), "/streams", query, limit + 1))
    items = known[:limit]
    if as_json:
        print(json.dumps(items))
        return
    print("\n".join(table_of(items)))
    if len(known) > limit:
        print(f"fvq: these are {counted(limit, 'stream')} of more: --limit lists them", file=sys.stderr)
