"""`fvq models`: list and show the versions in the registry, what is served, and roll back."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, lists, load_settings
from streams.cli.table import print_table
from streams.errors import SettingsError

app = typer.Typer(help="The model registry: versions, and which one serves.")


@app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: JsonFlag = False) -> None:
    """The model registry: versions, and which one serves. Without a command: `fvq models ls`."""
    if lists(context, as_json):
        models_ls(as_json)


@app.command("ls")
def models_ls(as_json: JsonFlag = False) -> None:
    """List all versions in the registry; below them the models of the package, which serve where it has none.

    The exit code is 1 where a version or what is current cannot be read.
    """
    from scorer.find import SHIPPED, version_of
    from streams.models.publish import list_versions

    registry = parts.registry(load_settings())
    rows = list_versions(registry)
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        title = f"registry {registry.shown}" + ("" if rows else ": empty, the shipped models serve")
        cells = [(row.name, row.version, row.created, "current" if row.current else "") for row in rows]
        print_table(("model", "version", "promoted", ""), cells, title=title, whole=("model", "version"))
        for name, folder in SHIPPED.items():
            serves = not any(row.name == name and (row.current or not row.version) for row in rows)
            print(f"in the package: {name}, version {version_of(folder)}{', which serves' if serves else ''}")
    damaged = [row for row in rows if row.problem]
    for row in damaged:
        print(f"fvq: {row.name}{'@' * bool(row.version)}{row.version}: {row.problem}", file=sys.stderr)
    if damaged:
        raise typer.Exit(1)


@app.command("show")
def models_show(model: Annotated[str, typer.Argument(help="`name@version`, or a name for its current version.")]) -> None:
    """Print a version's manifest: files, digests, metrics, gate."""
    from streams.models.publish import manifest_of

    print(json.dumps(manifest_of(parts.registry(load_settings()), model), indent=1))


@app.command("serving")
def models_serving(as_json: JsonFlag = False) -> None:
    """Ask each address of FVQ_SCORER_URL and FVQ_DEEP_URL what it serves. The exit code is 1 where one serves nothing."""
    from streams.models.serving import ask_all

    settings = load_settings()
    addresses = [url for setting in (settings.scorer_url, settings.deep_url) if setting for url in setting.split(",")]
    if not addresses:
        raise SettingsError(
            "FVQ_SCORER_URL, FVQ_DEEP_URL", "are not set: name the addresses of the served scorers, as http://host:port"
        )
    has_token = settings.scorer_token is not None or settings.scorer_token_file is not None
    rows = ask_all(addresses, settings.scorer_secret() if has_token else None)
    if as_json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        cells = [(row.url, row.name, row.version, row.problem) for row in rows]
        print_table(("address", "model", "version", "problem"), cells, whole=("address", "model", "version"))
    if any(row.problem for row in rows):
        raise typer.Exit(1)


@app.command("rollback")
def models_rollback(name: Annotated[str, typer.Argument(help="The model.")]) -> None:
    """Let the version before serve again."""
    from streams.models.publish import roll_back

    settings = load_settings()
    update = roll_back(parts.registry(settings), name)
    print(f"{name}: {update.version or 'the shipped version'} serves again instead of {update.before}")
    parts.announce_update(settings, update)
