"""`fvq topics`: what its commands print."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.kafka import topics


def test_a_topic_that_was_made_now_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker of Kafka lists a new topic some moments later than it answers that it made it."""
    monkeypatch.setenv("FVQ_BROKER", "127.0.0.1:1")
    reports = [
        topics.TopicReport("new", 0, 0, "missing: run `fvq topics create`"),
        topics.TopicReport("old", 4, 1, "has 4 partitions, wanted are 8"),
    ]
    monkeypatch.setattr(topics, "create_topics", lambda *_: ["new"])
    monkeypatch.setattr(topics, "check_topics", lambda *_: reports)
    result = CliRunner().invoke(app, ["topics", "create", "--partitions", "8"])
    assert result.exit_code == 0, result.output
    assert result.output == "created new\nleft as it is: old: has 4 partitions, wanted are 8\n"


def test_each_program_that_is_listed_has_its_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FVQ_BROKER", "kafka-1:9092")
    listed = CliRunner().invoke(app, ["topics", "acls"]).output.splitlines()
    assert {"fvq worker", "fvq queue export", "fvq ingest push", "fvq alerts unack", "fvq models rollback"} <= set(listed)
    for program in listed:
        result = CliRunner().invoke(app, ["topics", "acls", program, "--user", "CN=a b"])
        assert result.exit_code == 0, result.output
        assert all("--allow-principal 'User:CN=a b' " in line for line in result.output.splitlines())
