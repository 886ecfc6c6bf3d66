"""The reference page of the commands."""

from __future__ import annotations

import re
from typing import Any

import typer.main

from streams.cli.app import app
from streams.cli.page import reference
from tests.support.processes import ROOT

PAGE = reference()


def sections() -> dict[str, str]:
    """The text of each command, by its words."""
    return dict(re.findall(r"^### (fvq .*)\n((?:(?!^##).*\n?)*)", PAGE, re.MULTILINE))


def test_the_page_is_current() -> None:
    assert (ROOT / "docs/commands-reference.md").read_text() == PAGE, (
        "run: python -m streams.cli.page > docs/commands-reference.md"
    )


def test_every_command_is_there_with_each_of_its_options() -> None:
    described, count = sections(), 0

    def check(words: str, command: Any) -> None:
        nonlocal count
        for name, inner in command.commands.items():
            text = described[f"{words} {name}"]
            for parameter in inner.params:
                names = parameter.opts if parameter.param_type_name == "option" else [parameter.metavar or parameter.name.upper()]
                assert f"| `{names[0].replace('|', chr(92) + '|')}`" in text, (words, name, names)
                count += 1
            if hasattr(inner, "commands"):
                check(f"{words} {name}", inner)

    check("fvq", typer.main.get_command(app))
    assert count > 100


def test_a_row_has_type_bounds_default_and_meaning() -> None:
    plan = sections()["fvq plan"]
    assert "| `--streams` | whole number, at least 1, at most 10,000,000 | needed | Live streams. |" in plan
    assert "| `--aligned`, `--spread` |  | `--aligned` |" in plan
    assert "| `--json` |  |  | Print JSON for scripts. |" in plan
    assert "| `--from` | `edge`, `start` | `edge` |" in sections()["fvq ingest hls"]


def test_every_row_says_what_it_is_for() -> None:
    assert not [line for line in PAGE.splitlines() if line.startswith("| `") and line.endswith("|  |")]


def test_the_names_of_every_commands_json_are_described() -> None:
    page = (ROOT / "docs/commands.md").read_text()
    _, _, rest = page.partition("## Names in JSON")
    rows = [line.split(" | ")[0] for line in rest.partition("\n## ")[0].splitlines() if line.startswith("| `fvq ")]
    described = {words for row in rows for words in re.findall(r"`(fvq [^`]*)`", row)}
    assert described == {words for words, text in sections().items() if "| `--json` |" in text}
