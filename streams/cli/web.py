"""`fvq web`: serve the wall, and keep its tokens."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.addresses import http_address, reached_at
from streams.cli.options import JsonFlag, labels_of, live, load_settings
from streams.errors import SettingsError
from streams.text import printable

if TYPE_CHECKING:
    from streams.settings import Settings

app = typer.Typer(help="The wall: which streams look bad now, since when and why; a page and an API.")
tokens = typer.Typer(help="The tokens of the wall, in the file FVQ_WEB_TOKENS_FILE.")
app.add_typer(tokens, name="token")


@app.callback(invoke_without_command=True)
def web(
    context: typer.Context,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port instead of FVQ_WALL_PORT; 0 takes a free one.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the address.")] = False,
) -> None:
    """Without a command: serve the wall at FVQ_WALL_HOST until told to stop."""
    if context.invoked_subcommand is None:
        from streams.wall import run_wall

        live("wall", lambda settings, life: run_wall(settings, life, quiet), lambda: load_settings(wall_port=port))


@tokens.command("add")
def token_add(
    name: Annotated[str, typer.Argument(help="Whose token it is; acknowledgements carry this name.")],
    scope: Annotated[list[str] | None, typer.Option(help="read, ack, rate or media; may be repeated. Default: read.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="NAME:VALUE: it sees only these streams; may be repeated.")] = None,
) -> None:
    """Add a token; prints it, which is shown this once."""
    from streams.web.access.tokens import SCOPES, add_token

    scopes = scope or ["read"]
    known = [scope for scope in SCOPES if scope in scopes]
    if unknown := set(scopes) - set(SCOPES):
        raise SettingsError("--scope", f"{min(unknown)!r} is none of {', '.join(SCOPES)}")
    settings = load_settings()
    secret = add_token(_file(settings), name, known, labels_of(label, ":"))
    address = settings.web_url or http_address(reached_at(settings.host_of("wall")), settings.wall_port)
    # In the fragment, which a browser sends to no server and no proxy writes into its log.
    print(f"token  {secret}\nlink   {address}/#token={secret}")


@tokens.command("ls")
def token_ls(as_json: JsonFlag = False) -> None:
    """List the tokens: names, scopes, labels."""
    from streams.web.access.tokens import read_tokens

    entries = [token.model_dump(exclude={"sha256"}) for token in read_tokens(_file(load_settings()))]
    if as_json:
        print(json.dumps(entries))
        return
    if not entries:
        print("no tokens yet; add one: fvq web token add NAME", file=sys.stderr)
    for entry in entries:
        labels = "".join(f"  {name}:{value}" for name, value in entry["labels"].items())
        print(printable(f"{entry['name']}  {','.join(entry['scopes'])}{labels}"))


@tokens.command("rm")
def token_rm(name: Annotated[str, typer.Argument(help="Whose token it is.")]) -> None:
    """Remove a token: its sessions and sockets end within a minute."""
    from streams.web.access.tokens import remove_token

    remove_token(_file(load_settings()), name)


def _file(settings: Settings) -> Path:
    if settings.web_tokens_file is None:
        raise SettingsError("FVQ_WEB_TOKENS_FILE", "is not set: name the file that the tokens are kept in")
    return settings.web_tokens_file
