"""The command line's own words: groups, help, version, completion; every example in them is a command."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from streams.cli.app import ORDER, app
from streams.cli.examples import EXAMPLES
from tests.support.processes import FVQ, clean_environment

CLI: Any = typer.main.get_command(app)
RUNNER = CliRunner()


def commands(command: Any = CLI, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All commands and groups, by their words after `fvq`."""
    for name, child in getattr(command, "commands", {}).items():
        yield " ".join((*words, name)), child
        yield from commands(child, (*words, name))


ALL = dict(commands())


def output(*arguments: str, **variables: str) -> str:
    """What a command prints in a terminal of 80 columns."""
    result = RUNNER.invoke(app, list(arguments), env={"COLUMNS": "80", "NO_COLOR": "1", "TERMINAL_WIDTH": "80"} | variables)
    assert result.exit_code == 0, result.output
    return result.output


def test_every_command_and_group_has_examples_and_no_example_is_left_over() -> None:
    """A new command gets its examples in streams/cli/examples.py."""
    assert set(EXAMPLES) == set(ALL)


def test_every_command_is_in_a_group_of_the_help() -> None:
    assert sorted(ORDER) == sorted(CLI.commands), "a new command gets its place in PANELS of streams/cli/app.py"
    text = output("--help")
    places = [text.index(panel) for panel in ("Try:", "Operate:", "Improve:")]
    assert places == sorted(places)
    assert "Others" not in text


@pytest.mark.parametrize(("name", "example"), [(name, example) for name, examples in EXAMPLES.items() for example in examples])
def test_an_example_is_a_command_that_parses(name: str, example: str) -> None:
    words = [word for word in shlex.split(example.partition(" > ")[0]) if not re.match(r"FVQ_[A-Z_]+=", word)]
    assert words.pop(0) == "fvq"
    command, taken = CLI, []
    while words and words[0] in getattr(command, "commands", {}):
        taken.append(words.pop(0))
        command = command.commands[taken[-1]]
    assert " ".join(taken).startswith(name) or name == "config", "an example shows the command that it stands at"
    command.make_context(command.name, words)


@pytest.mark.parametrize("name", ALL)
def test_help_says_what_the_command_does_and_shows_its_examples(name: str) -> None:
    text = output(*name.split(), "-h")
    assert text == output(*name.split(), "--help")
    shown = "".join(text.split())
    for example in EXAMPLES[name]:
        assert "".join(example.split()) in shown


@pytest.mark.parametrize(
    ("words", "usage"),
    [
        ("synth", "[OPTIONS] OUT SOURCES..."),
        ("score", "[OPTIONS] FILE|FOLDER|URL..."),
        ("queue rm", "[OPTIONS] [EXAMPLES...]"),
        ("queue", "[OPTIONS] COMMAND [ARGS]..."),
    ],
)
def test_the_usage_line_names_arguments_as_the_reference_page_does(words: str, usage: str) -> None:
    assert f" {words} {usage} " in output(*words.split(), "--help")


def test_version() -> None:
    assert output("--version") == f"fvq {version('fvq-monitor')}\n"


def test_a_shell_is_told_how_a_command_goes_on() -> None:
    """As the script asks that `fvq --install-completion` installs for bash."""
    asked = {"_FVQ_COMPLETE": "complete_bash", "COMP_WORDS": "fvq dead-letters re", "COMP_CWORD": "2"}
    answer = subprocess.run([FVQ], env=clean_environment() | asked, capture_output=True, text=True, check=False)
    assert answer.stdout.split() == ["replay"], answer.stderr


@pytest.mark.parametrize("group", ["models", "queue", "alerts", "streams", "dead-letters", "sources"])
def test_json_before_a_command_is_refused_with_its_place(group: str) -> None:
    result = RUNNER.invoke(app, [group, "--json", "ls"])
    assert result.exit_code == 1
    assert f"{group} ls --json" in str(result.exception)


def test_a_terminal_without_a_size_still_gets_the_text() -> None:
    variables = clean_environment() | {"COLUMNS": "0", "LINES": "0"}
    done = subprocess.run([FVQ, "--help"], env=variables, capture_output=True, text=True, check=True)
    assert "Score files without any server" in " ".join(done.stdout.split())
