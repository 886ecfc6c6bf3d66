"""`fvq`: all groups of commands, and the exit codes.

A command imports what it needs when it runs, so that `--help` does not wait for torch.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streams.cli import (
    alerts,
    config,
    dead_letters,
    forget,
    history,
    ingest,
    models,
    plan,
    promote,
    queue,
    rate,
    run,
    serve,
    sources,
    streams,
    topics,
    training,
    web,
)
from streams.cli.examples import add_examples
from streams.cli.parameters import refuse_empty_paths, wrong_value
from streams.text import printable
from streams.user_errors import for_user, full_disk

PANELS = {
    "Try: on this machine, without a server": ("score", "up", "doctor", "config"),
    "Operate: live streams in production": (
        "plan", "topics", "ingest", "sources", "worker", "serve", "web", "streams", "alerts", "dead-letters",
        "history", "forget",
    ),
    "Improve: from hard clips to a better model": (
        "queue", "rate", "models", "synth", "train", "evaluate", "ablate", "crossvalidate", "promote",
    ),
}  # fmt: skip
"""The groups of commands in `fvq --help`, in the order in which they are met."""

ORDER = [name for names in PANELS.values() for name in names]


class _InOrder(TyperGroup):
    """All commands. Lists them in the order of `PANELS`: typer would list groups after all others."""

    def invoke(self, ctx: Any) -> Any:
        """Runs a command; a value that an option or argument does not take is told in our words, not in pydantic's."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = wrong_value(error.param, error.__cause__) or error.message
            raise

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


app = typer.Typer(
    cls=_InOrder, no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"fvq {version('fvq-monitor')}")
        raise typer.Exit


@app.callback()
def fvq(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Live face-video quality monitoring: which of your live channels looks bad right now, since when, and why."""


def _panel(name: str) -> str:
    return next((panel for panel, names in PANELS.items() if name in names), "Others")


for command in (
    run.score, run.up, run.worker, serve.serve, run.doctor, config.config, training.synth, training.train, training.evaluate,
    training.ablate, training.crossvalidate, promote.promote, plan.plan,
    forget.forget,
):  # fmt: skip
    app.command(rich_help_panel=_panel(command.__name__))(command)
for name, group in (
    ("topics", topics.app), ("alerts", alerts.app), ("models", models.app), ("queue", queue.app), ("rate", rate.app),
    ("dead-letters", dead_letters.app), ("ingest", ingest.app), ("web", web.app), ("streams", streams.app),
    ("sources", sources.app), ("history", history.app),
):  # fmt: skip
    app.add_typer(group, name=name, rich_help_panel=_panel(name))
add_examples(app)
refuse_empty_paths(app)


def main() -> None:
    """Run the command. An error that a user can act on prints one line on standard error.

    The exit code is 2 for a wrong setting, 1 for any other such error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names may have letters that the terminal's encoding does not have: they are escaped.
            stream.reconfigure(errors="backslashreplace")
    for size in ("COLUMNS", "LINES"):
        if os.environ.get(size) == "0":  # of a terminal without a size: rich would print nothing at all
            del os.environ[size]
    try:
        app()
    except Exception as error:
        told = for_user(error) or full_disk(error)
        if told is None:
            raise
        sentence, code = told
        text = printable(sentence, keep="\n")
        print(f"fvq: {text}", file=sys.stderr)
        sys.exit(code)
