"""The documentation's pages as tests read them: code, commands and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

PROGRAMS = r"(?:fvq|make|python)"
ASSIGNMENT = re.compile(r"^[A-Z][A-Z0-9_]*=")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


@dataclass(frozen=True)
class Command:
    """A command on a page. block: from a code block, where it is complete; else it is part of a sentence.

    settings: the assignments before it, by name. words: program and arguments.
    """

    settings: dict[str, str]
    words: tuple[str, ...]
    block: bool

    def __str__(self) -> str:
        return " ".join(self.words)


def code_blocks(text: str) -> list[str]:
    """The text of each code block, fenced or indented."""
    unfenced = FENCE.sub("", text)
    return [match[2] for match in FENCE.finditer(text)] + [match[0] for match in INDENTED.finditer(unfenced)]


def code_spans(text: str) -> list[str]:
    """The text of each span of code within sentences and tables."""
    return SPAN.findall(INDENTED.sub("", FENCE.sub("", text)))


def commands_of(text: str) -> list[Command]:
    """All commands of a page: of `fvq`, `make` and `python`."""
    lines = [line for block in code_blocks(text) for line in block.splitlines()]
    blocks = [command for line in lines for command in _commands(line.strip(), block=True)]
    return blocks + [command for span in code_spans(text) for command in _commands(span, block=False)]


def _commands(line: str, *, block: bool) -> Iterator[Command]:
    # Two spaces or a hash end the command: a comment follows.
    line = re.split(r"\s\s|\s#", line)[0]
    for part in re.split(r"\s&&\s", line):
        if not re.match(rf"(?:[A-Z][A-Z0-9_]*=\S+ )*{PROGRAMS}(?: |$)", part):
            continue
        words = shlex.split(part.split(" > ")[0])
        first = next(place for place, word in enumerate(words) if not ASSIGNMENT.match(word))
        settings = dict(word.split("=", 1) for word in words[:first])
        yield Command(settings, tuple(words[first:]), block)


def variants(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The commands that a synopsis stands for: `a [--b] c | d` is `a c`, `a --b c` and `a d`. words: without the program."""
    if not any(word == "|" or "[" in word for word in words):
        return [words]
    text = " ".join(words)
    head = re.match(r"(?:[a-z][a-z-]*(?: |$))+", text)
    start = head[0].strip() if head else ""
    forms = []
    for choice in text[len(start) :].split(" | "):
        for arguments in (re.sub(r"\[[^]]*\]", "", choice), choice.replace("[", "").replace("]", "")):
            forms.append(tuple(f"{start} {arguments}".split()))
    return list(dict.fromkeys(forms))


def links_of(text: str) -> list[str]:
    """The targets of all links and pictures that are not addresses on the web."""
    targets = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", text))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    anchors = set()
    for heading in re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        anchors.add(re.sub(r"[^\w\- ]", "", shown).strip().lower().replace(" ", "-"))
    return anchors


def replace_marked(page: Path, command: str, lines: Sequence[str]) -> None:
    """Put lines into the part of a page that a command makes: between its marker, a comment that names it, and the next end."""
    begin, end = f"<!-- made by `{command}` -->", "<!-- end -->"
    head, rest = page.read_text().split(begin)
    _, tail = rest.split(end, 1)
    page.write_text("\n".join([f"{head}{begin}", *lines, f"{end}{tail}"]))
