"""The prefix of an environment: it is before every name, it is put there in one place, and nobody makes a name elsewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams import parts, topic_names
from streams.errors import SettingsError
from streams.kafka import topics
from streams.kafka.connection import Connection
from streams.kafka.topic_looks import NO_SUCH_TOPIC
from streams.settings import Settings, load_settings
from streams.topic_names import ALL_TOPICS, LONGEST_NAME, LONGEST_PREFIX, PER_STREAM, prefixed
from tests.support.processes import ROOT

KAFKAS_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")
"""What a broker takes as a topic's name."""

prefixes = st.from_regex(rf"[A-Za-z0-9._-]{{0,{LONGEST_PREFIX}}}", fullmatch=True)

TABLES = {
    "streams/kafka/topics.py": {"wanted_topics"},
    "streams/kafka/rights.py": {"STATES", "LETTERS", "WORKER", "NEEDS"},
    "streams/web/follow.py": {"RECENT_SECONDS", "CHANGES"},
}
"""Tables by names without a prefix, which the functions below them put there."""

SPOKEN = {"streams/cli/examples.py"}
"""Where names stand for people to read."""


class MemoryAdmin:
    """Stands for kafka-python's `KafkaAdminClient`; keeps the topics that are created."""

    def __init__(self) -> None:
        self.topics: dict[str, Any] = {}

    def create_topics(self, wanted: dict[str, Any]) -> None:
        self.topics |= wanted

    def list_topics(self) -> list[str]:
        return list(self.topics)

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        return [self._described(name) for name in names]

    def _described(self, name: str) -> dict[str, Any]:
        if name not in self.topics:
            return {"name": name, "partitions": [], "error_code": NO_SUCH_TOPIC}
        return {"name": name, "partitions": [{"replica_nodes": [1]}] * self.topics[name]["num_partitions"]}

    def close(self) -> None:
        pass


@given(prefixes)
def test_every_topic_and_group_begins_with_the_prefix_and_kafka_takes_its_name(prefix: str) -> None:
    settings = Settings(broker="none:1", topic_prefix=prefix)
    connection, group = parts.connection(settings), parts.group(settings)
    names = {connection.named(topic) for topic in ALL_TOPICS}
    assert names == {prefix + topic for topic in ALL_TOPICS}
    assert all(KAFKAS_NAME.fullmatch(name) for name in names)
    assert group.name == connection.named(settings.group) == prefix + settings.group
    assert group.of("alerts").name == f"{prefix}fvq.alerts"
    assert parts.places(settings).group == group.name
    assert parts.keeping(settings).pictures_topic == connection.named(topic_names.PICTURES_TOPIC)


@given(prefixes, prefixes)
def test_two_prefixes_never_give_two_environments_the_same_topic(first: str, second: str) -> None:
    if first != second:
        assert not {prefixed(first, topic) for topic in ALL_TOPICS} & {prefixed(second, topic) for topic in ALL_TOPICS}


def test_topics_are_created_and_checked_under_their_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    admin, here = MemoryAdmin(), Connection("none:1", prefix="staging.")
    monkeypatch.setattr(topics, "open_admin", lambda *_: admin)
    monkeypatch.setattr(topics, "_configs", lambda admin, names: {name: admin.topics[name]["configs"] for name in names})
    created = topics.create_topics(here, partitions=3, replication=1, retention_hours=24)
    assert set(created) == set(admin.topics) == {f"staging.{topic}" for topic in ALL_TOPICS}
    reports = topics.check_topics(here, 3, 1, 24)
    assert {report.name for report in reports} == set(created)
    assert [report.problem for report in reports if report.problem] == []
    assert topics.alter_topics(here, 24) == []
    longer = {report.name: report.problem for report in topics.check_topics(here, 3, 1, 48) if report.problem}
    assert set(longer) == {here.named(topic) for topic in PER_STREAM}
    others = topics.check_topics(Connection("none:1"), 3, 1)
    assert {report.problem for report in others} == {"missing: run `fvq topics create`"}


@pytest.mark.parametrize(
    ("prefix", "wrong"),
    [
        ("staging/", "'staging/' cannot begin a topic's name: write letters A-Z and a-z, digits, '.', '_' and '-'"),
        ("my staging.", "cannot begin a topic's name"),
        ("prüfung.", "cannot begin a topic's name"),
        ("a\n", "cannot begin a topic's name"),
        ("\u0661", "cannot begin a topic's name"),
        ("x" * (LONGEST_PREFIX + 1), f"write at most {LONGEST_PREFIX}, because a topic's name has at most {LONGEST_NAME}"),
    ],
)
def test_a_prefix_that_kafka_would_refuse_is_named_with_what_is_allowed(
    prefix: str, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FVQ_TOPIC_PREFIX", prefix)
    with pytest.raises(SettingsError, match=re.escape(wrong)) as caught:
        load_settings()
    assert caught.value.path == "FVQ_TOPIC_PREFIX"
    assert str(caught.value).endswith("; for example FVQ_TOPIC_PREFIX=staging.")
    assert "\n" not in str(caught.value)


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Every module of the three packages but that of the names, and its path in the repository."""
    for package in ("streams", "scorer", "training"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name != "streams/topic_names.py":
                yield name, ast.parse(path.read_text())


CONSTANTS = {name for name in vars(topic_names) if name.endswith("_TOPIC")}


def bare_names(path: str, tree: ast.Module) -> Iterator[str]:
    """Where a name without its prefix is used, other than to ask for the name with it."""
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        target = statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", statement)
        if getattr(target, "id", getattr(target, "name", "")) in TABLES.get(path, ()):
            continue
        asked = {
            id(argument)
            for call in ast.walk(statement)
            if isinstance(call, ast.Call) and getattr(call.func, "attr", getattr(call.func, "id", "")) in ("named", "prefixed")
            for argument in call.args
        }
        for node in ast.walk(statement):
            used = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
            if used in CONSTANTS and id(node) not in asked:
                yield f"{path}:{node.lineno}: {used} without its prefix"


def written_names(path: str, tree: ast.Module) -> Iterator[str]:
    """Where a topic's name is written out, other than in a docstring."""
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)) or id(node) in prose or path in SPOKEN:
            continue
        if found := [topic for topic in ALL_TOPICS if re.search(rf"(?<![\w-]){re.escape(topic)}(?![\w-])", node.value)]:
            yield f"{path}:{node.lineno}: {found[0]} is written out"


def joined_prefixes(path: str, tree: ast.Module) -> Iterator[str]:
    """Where the prefix is put before something, other than by `prefixed`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.JoinedStr):
            for part in ast.walk(node):
                if isinstance(part, ast.Attribute) and part.attr == "topic_prefix":
                    yield f"{path}:{part.lineno}: the prefix is joined by hand"


def test_nobody_makes_a_name_of_a_topic_but_in_one_place() -> None:
    found = [
        place
        for path, tree in modules()
        if not path.startswith("streams/events/")  # documents the events by the names without a prefix
        for place in (*bare_names(path, tree), *written_names(path, tree), *joined_prefixes(path, tree))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "producer.send(SCORES_TOPIC, b'')",
        "topic = events.SCORES_TOPIC",
        "if record.topic == ALERTS_TOPIC:\n    pass",
        "send('segment-scores')",
        "send(f'{prefix}segment-scores')",
        "name = settings.topic_prefix + 'x'",
        "name = f'{settings.topic_prefix}x'",
    ],
)
def test_the_search_sees_a_name_that_is_made_elsewhere(source: str) -> None:
    tree = ast.parse(source)
    assert [*bare_names("x.py", tree), *written_names("x.py", tree), *joined_prefixes("x.py", tree)]


def test_all_topics_are_all() -> None:
    assert sorted(ALL_TOPICS) == sorted(getattr(topic_names, name) for name in CONSTANTS)
    assert set(topics.wanted_topics(1)) == set(ALL_TOPICS)
    assert max(map(len, ALL_TOPICS)) + LONGEST_PREFIX == LONGEST_NAME
