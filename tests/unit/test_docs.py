"""The documentation says what is there: commands, options, targets, modules, settings, metrics, files and links exist."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any, get_origin

import pytest
import typer.main
from pydantic import TypeAdapter, ValidationError

from streams.cli.app import app
from streams.settings import Settings, load_settings
from streams.worker import STOP_SECONDS
from tests.support.documentation import (
    FENCE,
    PAGES,
    Command,
    anchors_of,
    code_blocks,
    code_spans,
    commands_of,
    links_of,
    variants,
)
from tests.support.processes import ROOT

ENVIRONMENT_FILE = ROOT / "docs/first-worker.md"
QUOTING_PAGE = ROOT / "docs/troubleshooting.md"
PLACEHOLDERS = r"\b(?:NAME|REASON|STREAM|TOPIC|PARTITIONS|KIND|PLACE|FILE|URL|SERVERS|N)\b"
"""Words that stand for what differs, on the page that quotes the program."""

CLI: Any = typer.main.get_command(app)
MAKEFILE = (ROOT / "Makefile").read_text()
SCRIPTS = "\n".join(
    path.read_text()
    for path in sorted((ROOT / "scripts").rglob("*"))
    if path.is_file() and path.suffix not in (".pyc", ".tflite")
)
NAMES = {f"FVQ_{name.upper()}" for name in Settings.model_fields} | {"FVQ_CONFIG"} | set(re.findall(r"FVQ_[A-Z_]*[A-Z]", SCRIPTS))
METRIC_FILES = (
    "scorer/exposition.py",
    "streams/metrics.py",
    "streams/ingest/metrics.py",
    "scorer/remote/metrics.py",
    "streams/web/metrics.py",
)
METRICS = {name for file in METRIC_FILES for name in re.findall(r'"(fvq_\w+)"', (ROOT / file).read_text())}
FOLDERS = ("streams", "scorer", "training", "tests", "docs", "deploy", "scripts", "examples")
HISTORY = "CHANGELOG.md"
"""This page names files by their old places: its paths are not checked."""


def problems_of(command: Command) -> list[str]:
    """What is wrong with a command; it is not run."""
    program, *arguments = command.words
    if program == "make":
        return _problems_of_make(arguments)
    if program == "python":
        return _problems_of_python(arguments)
    return [problem for form in variants(tuple(arguments)) for problem in _problems_of_fvq(form, complete=command.block)]


def _problems_of_fvq(words: tuple[str, ...], complete: bool) -> list[str]:
    command, rest = CLI, list(words)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            return [f"there is no command {rest[0]!r}"]
        command = command.commands[rest.pop(0)]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}
    options = [word.split("=")[0] for word in rest if word.startswith("-")]
    problems = [f"there is no option {option!r}" for option in options if option not in known]
    asks_for_help = bool({"-h", "--help"} & set(rest))  # a command alone does not know the `-h` of the group that it is in
    if complete and not problems and not asks_for_help and not hasattr(command, "commands"):
        try:
            # Parses and checks the arguments, as the command line does before it calls the command. `N` stands for a number.
            command.make_context(command.name, ["1" if word == "N" else word for word in rest])
        except Exception as error:
            problems.append(str(error))
    return problems


def _problems_of_make(words: list[str]) -> list[str]:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    variables = set(re.findall(r"^(\w+) \?=", MAKEFILE, re.MULTILINE))
    wrong = [word for word in words if (word.split("=")[0] not in variables if "=" in word else word not in targets)]
    return [f"there is no target or variable {word!r}" for word in wrong]


def _problems_of_python(words: list[str]) -> list[str]:
    if words[:1] == ["-m"]:
        spec = importlib.util.find_spec(words[1])
        if spec is None or spec.origin is None:
            return [f"there is no module {words[1]!r}"]
        file = Path(spec.origin)
    else:
        file = ROOT / words[0]
        if not file.is_file():
            return [f"there is no file {words[0]!r}"]
    options = [word.strip("[]") for word in words[1:] if word.strip("[").startswith("--")]
    return [f"{file.name} has no option {option!r}" for option in options if f'"{option}"' not in file.read_text()]


def problems_of_names(text: str) -> list[str]:
    """Settings and metrics that a page names and that are not there. `FVQ_KAFKA_*` stands for all names that begin with it."""
    settings = set(re.findall(r"FVQ_[A-Z][A-Z_]*", text)) - NAMES
    wrong = [name for name in settings if not (name.endswith("_") and any(known.startswith(name) for known in NAMES))]
    metrics = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in re.findall(r"`(fvq_\w+)", text)} - {"fvq_probe"}
    return sorted(wrong) + sorted(metrics - METRICS)


def problems_of_values(text: str) -> list[str]:
    """Settings that a page gives a value which they refuse. Lists and paths take any text."""
    wrong = []
    for name, value in re.findall(r"FVQ_([A-Z_]+)=([^\s`,:]+)", text):
        field = Settings.model_fields.get(name.lower())
        if field is not None and value != "off" and get_origin(field.annotation) is not list:
            try:
                TypeAdapter(field.annotation).validate_python(value)
            except ValidationError as error:
                wrong.append(f"FVQ_{name}={value}: {error.errors()[0]['msg']}")
    return wrong


def problems_of_paths(text: str) -> list[str]:
    """Files and folders of this repository that a page names in code and that are not there; options that no command has."""
    spans = code_spans(text)
    words = {word for part in (*spans, *code_blocks(text)) for word in re.split(r"[\s,=:()\"'\[\]]+", part)}
    paths = {
        word.rstrip("/.") for word in words if word.split("/")[0] in FOLDERS and "/" in word and not re.search(r"[<>*{}]", word)
    }
    known = {
        option
        for command in _all_commands(CLI)
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    options = {span.split()[0] for span in spans if re.match(r"--[a-z]", span)}
    dotted = {span for span in spans if re.fullmatch(rf"(?:{'|'.join(FOLDERS)})(?:\.\w+)+", span)}
    wrong = [path for path in paths if not (ROOT / path).exists()] + [name for name in dotted if not _is_defined(name)]
    wrong += [
        f"{name} in {file}"
        for name, file in re.findall(r"`([\w.]+)` in `([\w/]+\.py)`", text)
        if (ROOT / file).is_file() and not re.search(rf"\b{name.split('.')[-1]}\b", (ROOT / file).read_text())
    ]
    return sorted(wrong) + sorted(options - known)


def _is_defined(name: str) -> bool:
    """Whether a dotted name is a package, a module, or a name in a module."""
    path = ROOT.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = path.parent.with_suffix(".py")
    return (
        module.is_file()
        and re.search(rf"^(?:def|class) {path.name}\b|^{path.name}\b", module.read_text(), re.MULTILINE) is not None
    )


def problems_of_links(page: Path, text: str) -> list[str]:
    """Targets of a page's links that are no file, or no heading of that file."""
    wrong = []
    for target in links_of(text):
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            wrong.append(target)
    return wrong


def _all_commands(command: Any) -> list[Any]:
    return [command, *(inner for child in getattr(command, "commands", {}).values() for inner in _all_commands(child))]


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_every_command_of_a_page_is_one(page: Path) -> None:
    wrong = {str(command): problems for command in commands_of(page.read_text()) if (problems := problems_of(command))}
    assert not wrong


def test_every_setting_and_metric_of_a_page_is_one(page: Path) -> None:
    assert not problems_of_names(page.read_text()) + problems_of_values(page.read_text())


def test_every_file_and_option_of_a_page_is_there(page: Path) -> None:
    if page.name != HISTORY:
        assert not problems_of_paths(page.read_text())


def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert not problems_of_links(page, page.read_text())


def test_the_index_has_every_page() -> None:
    index = set(links_of((ROOT / "docs/README.md").read_text()))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - index == {"README.md"}


def test_every_page_first_says_what_it_is_for() -> None:
    """Below its heading stands a sentence, and not how the page is made, a list or a command."""
    for page in (ROOT / "docs").glob("*.md"):
        heading, empty, purpose, *_ = page.read_text().splitlines()
        assert heading.startswith("# "), page.name
        assert not empty, page.name
        assert re.match(r"[A-Z].{15}", purpose), page.name
        assert not purpose.startswith("Made by"), page.name


def test_the_readme_leads_newcomers_to_the_first_page() -> None:
    links = links_of((ROOT / "README.md").read_text())
    assert {"docs/getting-started.md", "docs/first-worker.md", "docs/README.md"} <= set(links)


def test_the_changelog_is_kept_in_the_form_that_it_names() -> None:
    """keepachangelog.com: versions with their days, the newest first, and under each only these groups, each once."""
    text = (ROOT / HISTORY).read_text()
    newest, *versions = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert newest.startswith("[Unreleased]\n")
    assert all(re.match(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d\n", version) for version in versions)
    for version in (newest, *versions):
        groups = re.findall(r"^### (.*)$", version, re.MULTILINE)
        assert set(groups) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
        assert len(groups) == len(set(groups))


def test_a_workers_time_to_stop_is_the_same_everywhere() -> None:
    files = [*(ROOT / "docs").glob("*.md"), ROOT / "deploy/helm/fvq-monitor/templates/worker/deployment.yaml"]
    phrase = r"SIGTERM ends a worker within (\d+) s|worker\s+ends within (\d+) s of SIGTERM"
    said = {file.name: int(a or b) for file in files for a, b in re.findall(phrase, file.read_text())}
    assert set(said) == {"delivery.md", "deployment.yaml", "first-worker.md", "kubernetes.md"}
    assert set(said.values()) == {STOP_SECONDS}


def test_every_command_of_the_command_line_is_on_a_page() -> None:
    named = {command.words[1:3] for page in PAGES for command in commands_of(page.read_text()) if command.words[0] == "fvq"}
    for name, command in CLI.commands.items():
        for inner in getattr(command, "commands", {None: None}):
            assert any(words[0] == name and inner in (None, *words[1:]) for words in named if words), (name, inner)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("`fvq score --jsno talk.mp4`", "no option '--jsno'"),
        ("    fvq scores talk.mp4\n", "no command 'scores'"),
        ("    fvq queue list\n", "no command 'list'"),
        ("    fvq up --fast\n", "source"),
        ("    fvq topics create --partitions many   # a comment\n", "integer"),
        ("    fvq queue ls [--streams ID] [--json]     what waits\n", "no option '--streams'"),
        ("    fvq queue rm CLIP... | --streams ID\n", "no option '--streams'"),
        ("    export FVQ_BROKER=a:1\n    FVQ_MODEL=M fvq worker --fast\n", "no option '--fast'"),
        ("```sh\nfvq topics create && fvq doctor --set-up\n```\n", "no option '--set-up'"),
        ("`make demos`", "no target or variable 'demos'"),
        ("`make demo SOURCES=my.mp4`", "no target or variable 'SOURCES=my.mp4'"),
        ("`python -m streams.setting > docs/settings.md`", "no module 'streams.setting'"),
        ("    python -m tests.bench.replay A B --part 0.5\n", "no option '--part'"),
        ("    python examples/loops.py\n", "no file 'examples/loops.py'"),
    ],
)
def test_a_wrong_command_is_found(text: str, problem: str) -> None:
    problems = [problem for command in commands_of(text) for problem in problems_of(command)]
    assert any(problem in found for found in problems), problems


def test_a_wrong_name_is_found() -> None:
    assert problems_of_names("`FVQ_BROKERS`, `FVQ_KAFKA_*`, `FVQ_INFLUXES_*`, `FVQ_KAFKA_PORT`") == [
        "FVQ_BROKERS",
        "FVQ_INFLUXES_",
    ]
    assert problems_of_names("`fvq_segments_total{status}`, `fvq_segment_total`") == ["fvq_segment"]
    assert [problem.split(":")[0] for problem in problems_of_values("FVQ_DEVICE=tpu FVQ_HARVEST=false FVQ_WEB_PORT=x")] == [
        "FVQ_DEVICE=tpu",
        "FVQ_WEB_PORT=x",
    ]
    assert problems_of_paths("`streams/scoring/app.py`, `streams/scoring/line.py`") == ["streams/scoring/line.py"]
    assert problems_of_paths("`--partitions` (4), `--partition`") == ["--partition"]
    assert problems_of_paths("`build_app` in `streams/scoring/app.py`, `Line` in `streams/scoring/batcher.py`") == [
        "Line in streams/scoring/batcher.py"
    ]
    assert problems_of_paths(
        "`streams.events.segments.SegmentEvent`, `streams.events.segments.Segment`, `streams.event`, `streams.alerts`"
    ) == [
        "streams.event",
        "streams.events.segments.Segment",
    ]


def test_a_wrong_link_is_found() -> None:
    text = "[a](alerts.md) [b](alerts.md#the-policy) [c](alert.md) [d](alerts.md#policy) ![e](none.png) [f](https://a.example/x)"
    assert problems_of_links(ROOT / "docs/queue.md", text) == ["alert.md", "alerts.md#policy", "none.png"]


def rows_without_a_table(text: str) -> list[str]:
    """Rows of tables that are shown as text: no header and no line below it stand over them."""
    blocks = [block.strip("\n").splitlines() for block in re.split(r"\n(?!\|)|(?<!\|)\n(?=\|)", FENCE.sub("", text))]
    return [
        block[0] for block in blocks if block and block[0].startswith("|") and not re.match(r"\|[-:| ]+\|$", "".join(block[1:2]))
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_row_is_in_a_table(page: Path) -> None:
    assert rows_without_a_table(page.read_text()) == []


def test_a_row_without_a_table_is_found() -> None:
    assert rows_without_a_table("| a |\n|---|\n| b |\n\n| c |\nword\n| d |\n") == ["| c |", "| d |"]


def test_a_synopsis_stands_for_all_its_forms() -> None:
    assert variants(("queue", "ls", "[--stream", "ID]", "[--json]")) == [
        ("queue", "ls"),
        ("queue", "ls", "--stream", "ID", "--json"),
    ]
    assert variants(("queue", "rm", "CLIP...", "|", "--stream", "ID")) == [
        ("queue", "rm", "CLIP..."),
        ("queue", "rm", "--stream", "ID"),
    ]


@cache
def words_of_the_program() -> set[str]:
    """All texts in the code, without its backticks: log lines, errors and pages are made of them."""
    trees = (ast.parse(file.read_text()) for folder in ("streams", "scorer") for file in (ROOT / folder).rglob("*.py"))
    nodes = (node for tree in trees for node in ast.walk(tree))
    return {node.value.replace("`", "") for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def quotes_of(text: str) -> list[list[str]]:
    """The fixed parts of each sentence that a page quotes: of a span of code with at least five words that is no command."""
    quotes = []
    for span in code_spans(text):
        if span.count(" ") < 4 or re.match(r"(?:fvq|make|python) ", span) or "fvq_" in span:
            continue
        sentence = re.sub(r"^[A-Z_, ]+: ", "", span)  # the setting that an error begins with
        quotes.append([part for part in (piece.strip(" ()") for piece in re.split(PLACEHOLDERS, sentence)) if part])
    return quotes


def test_what_troubleshooting_quotes_is_said_by_the_program() -> None:
    words = words_of_the_program()
    quotes = quotes_of(QUOTING_PAGE.read_text())
    assert len(quotes) > 20
    missing = [part for quote in quotes for part in quote if not any(part in text for text in words)]
    assert not missing


def test_a_wrong_quote_is_found() -> None:
    (quote,) = quotes_of("`outage of NAME begins, and nobody cares: REASON`, `fvq doctor --for worker and so on`, `short`")
    assert quote == ["outage of", "begins, and nobody cares:"]
    assert not any(quote[1] in text for text in words_of_the_program())


def test_the_first_workers_file_is_a_set_of_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = max(code_blocks(ENVIRONMENT_FILE.read_text()), key=len).splitlines()
    commented = [line.removeprefix("#") for line in lines if line.startswith("#FVQ_")]
    plain = [line for line in lines if line and not line.startswith("#")]
    for chosen in (plain, [*plain, *commented]):
        variables = dict(line.split("=", 1) for line in chosen)
        assert all(value and value == value.strip() and not set(value) & set("'\"# ") for value in variables.values())
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            settings = load_settings()
        assert not settings.ignored
        sources = {name: settings.source(name.removeprefix("FVQ_").lower()).kind for name in variables}
        assert set(sources.values()) == {"environment"}, sources
