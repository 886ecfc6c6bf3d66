"""The rights of each program: the table in the documentation, what a worker needs by its settings, and the words of a refusal."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import TopicAuthorizationFailedError as FaustsTopicError
from kafka.errors import ClusterAuthorizationFailedError, GroupAuthorizationFailedError, KafkaTimeoutError, NotCoordinatorError
from kafka.errors import TopicAuthorizationFailedError as TopicError

from streams import parts
from streams.errors import BrokerError
from streams.events import ALERTS_TOPIC, INGEST_STATE_TOPIC, MODELS_TOPIC, PICTURES_TOPIC, SCORES_TOPIC, TRAINING_TOPIC
from streams.kafka import allowed, topic_looks
from streams.kafka.allowed import Allowed, check_rights, listed, look
from streams.kafka.connection import Connection
from streams.kafka.rights import NEEDS, Right, programs, rights_of
from streams.kafka.rights_page import commands, table
from streams.kafka.topic_looks import looked_up, no_topic
from streams.kafka.topics import wanted_topics
from streams.refusals import words
from streams.settings import Settings
from streams.topic_names import ALL_TOPICS

PAGE = Path(__file__).parents[3] / "docs/operations.md"
SECURE = Connection("kafka:9093", "SASL_SSL", user="u", password="p")


def test_the_documentation_has_the_table_and_the_workers_commands() -> None:
    text = PAGE.read_text()
    assert table() in text
    assert "\n".join(commands(NEEDS["fvq worker"], "fvq", "fvq-worker", "kafka-1:9092", str)) in text


def test_every_topic_is_in_the_list() -> None:
    assert set(ALL_TOPICS) == set(wanted_topics(1))


def test_the_prefix_of_an_environment_stands_before_every_name() -> None:
    settings = Settings(topic_prefix="staging.", group="fvq")
    assert {right.name[:8] for right in parts.worker_rights(settings)} == {"staging."}
    named = parts.named(settings)
    for needs in NEEDS.values():
        assert {right.name[:8] for right in rights_of(needs, "fvq", named=named)} == {"staging."}
        for command in commands(needs, "fvq", "u", "kafka:9092", named):
            words = command.split()
            names = [word for option, word in pairwise(words) if option in ("--topic", "--group")]
            assert names
            assert all(name.startswith("staging.") for name in names)


def test_a_shell_takes_each_name_of_a_command_as_one_word() -> None:
    user, server, group = "CN=a b, O=x;rm -rf /", "k;1:9092", "my 'group"
    for command in commands(NEEDS["fvq worker"], group, user, server, lambda name: f"$(a) {name}"):
        words = shlex.split(command)
        assert words[:5] == ["kafka-acls.sh", "--bootstrap-server", server, "--command-config", "admin.properties"]
        assert words[words.index("--allow-principal") + 1] == f"User:{user}"
        names = [word for option, word in pairwise(words) if option in ("--topic", "--group")]
        assert names
        assert all(name.startswith("$(a) ") for name in names)
        assert f"$(a) {group}" in names or "--topic" in words


def test_every_program_of_the_table_has_needs() -> None:
    cells = [row.split("|")[1] for row in table().splitlines()[2:]]
    named = {name for cell in cells for name in re.findall("`(.+?)`", cell)}
    assert named == set(programs())
    assert programs()["fvq queue export"] == programs()["fvq train --from-queue"] == NEEDS["fvq queue ls"]
    assert programs()["fvq ingest push"] == NEEDS["fvq ingest hls"]
    assert {"fvq rate export", "fvq alerts unack", "fvq models rollback", *NEEDS} <= named


@pytest.mark.parametrize(
    ("changed", "absent"),
    [
        ({"alerts": False}, {"alert-state", "alert-acks", INGEST_STATE_TOPIC, "fvq.alerts", "fvq.alerts.on-call"}),
        ({"harvest": False}, {"fvq.harvest"}),
        ({"pictures": "off"}, {PICTURES_TOPIC}),
        ({"model": "nano@3"}, {MODELS_TOPIC}),
        ({"scorer_url": "http://127.0.0.1:1"}, {MODELS_TOPIC}),
    ],
)
def test_a_worker_needs_nothing_for_what_is_off(tmp_path: Path, changed: dict[str, Any], absent: set[str]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("receivers: [{name: on-call, type: json, url: 'http://127.0.0.1:9'}]")
    settings = {"alert_policy": policy, "group": "fvq"}
    everything = {right.name for right in parts.worker_rights(Settings(**settings))}
    assert everything - {right.name for right in parts.worker_rights(Settings(**(settings | changed)))} == absent
    assert TRAINING_TOPIC in everything, "each worker sweeps the queue"


class Admin:
    """Stands for kafka-python's `KafkaAdminClient` at brokers that tell what they are given.

    topics: error and operations of each. groups: what asking for a group raises, in turn.
    """

    def __init__(self, topics: dict[str, tuple[int, list[str] | None]], groups: dict[str, list[Exception]] | None = None) -> None:
        self.topics, self.groups = topics, groups or {}
        self.left: list[str] = []
        self.config = {"sasl_plain_username": "u"}

    def describe_topics(self, names: list[str]) -> list[dict[str, Any]]:
        told = {name: self.topics.get(name, (3, None)) for name in names}
        return [{"name": name, "error_code": error, "authorized_operations": them} for name, (error, them) in told.items()]

    def remove_group_members(self, name: str, members: list[Any]) -> None:
        self.left += [member.member_id for member in members]
        if self.groups.get(name):
            raise self.groups[name].pop(0)

    def close(self) -> None:
        pass


def asked(monkeypatch: pytest.MonkeyPatch, admin: Admin) -> Admin:
    for module in (allowed, topic_looks):
        monkeypatch.setattr(module, "open_admin", lambda *_: admin)
    return admin


def test_what_kafka_tells_is_sorted_into_missing_absent_and_untold(monkeypatch: pytest.MonkeyPatch) -> None:
    from kafka.errors import CoordinatorNotAvailableError, UnsupportedVersionError

    monkeypatch.setattr(allowed.time, "sleep", lambda _: None)
    topics = {"a": (0, ["DESCRIBE", "READ"]), "hidden": (29, None), "old": (0, None), "odd": (0, [])}
    groups: dict[str, list[Exception]] = {
        "g": [],
        "refused": [GroupAuthorizationFailedError()],
        "new": [CoordinatorNotAvailableError(), NotCoordinatorError()],
        "strange": [UnsupportedVersionError()],
    }
    admin = asked(monkeypatch, Admin(topics, groups))
    rights = [Right("topic", name, "Read") for name in ("a", "hidden", "gone", "old", "odd")]
    rights += [Right("topic", "a", "Write"), Right("topic", "a", "DescribeConfigs")]
    rights += [Right("group", name, "Read") for name in groups]
    told = look(SECURE, rights)
    assert listed(told.missing) == "Read on topic hidden; Write on topic a; DescribeConfigs on topic a; Read on group refused"
    assert told.absent == ("gone",)
    assert [right.name for right in told.untold] == ["old", "odd", "strange"]
    assert set(admin.left) == {allowed.NOBODY}


def test_a_program_without_its_rights_names_user_and_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked(monkeypatch, Admin({SCORES_TOPIC: (0, ["DESCRIBE"])}))
    rights = [Right("topic", SCORES_TOPIC, "Read"), Right("topic", SCORES_TOPIC, "Write")]
    with pytest.raises(BrokerError, match="does not let user u do what `fvq x` needs: Read on topic segment-scores; Write on"):
        check_rights(SECURE, "fvq x", rights)
    check_rights(Connection("kafka:9092"), "fvq x", rights)  # without a user nobody is asked
    monkeypatch.setattr(allowed, "look", lambda *_: Allowed(absent=("t",), untold=(rights[0],)))
    check_rights(SECURE, "fvq x", rights)  # a missing topic is told by who needs it


def test_a_topic_that_may_not_be_seen_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = asked(monkeypatch, Admin({"seen": (0, ["DESCRIBE", "READ"]), "hidden": (29, None)}))
    assert set(looked_up(admin, ["seen", "gone"])) == {"seen"}
    with pytest.raises(BrokerError, match="Kafka refuses user u Describe on topic hidden"):
        looked_up(admin, ["seen", "hidden"])
    with pytest.raises(BrokerError, match="Kafka refuses user u DescribeConfigs on topic seen"):
        looked_up(admin, ["seen"], "DescribeConfigs")
    assert "Kafka refuses user u Read on topic hidden" in str(no_topic(SECURE, "hidden"))
    assert str(no_topic(SECURE, "gone")) == "topic gone is missing: run `fvq topics create`"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TopicError({"b", "a"}), "Kafka refuses this program's user Read on topic a, b: "),
        (TopicError("some sentence of a client"), "Kafka refuses this program's user Read on topic: "),
        (FaustsTopicError(ALERTS_TOPIC), f"Kafka refuses this program's user Read on topic {ALERTS_TOPIC}: "),
        (GroupAuthorizationFailedError("fvq"), "Kafka refuses this program's user Read on group fvq: "),
        (ClusterAuthorizationFailedError(), "Kafka refuses this program's user Read on the cluster: "),
        (KafkaTimeoutError("after 5 s"), "KafkaTimeoutError: "),
    ],
)
def test_a_refusal_in_words(error: Exception, said: str) -> None:
    assert words(error).startswith(said)


def test_the_rights_of_the_list_have_no_doubles() -> None:
    for program, needs in NEEDS.items():
        rights = rights_of(needs, "fvq", named=str)
        assert rights, program
        assert len(set(rights)) == len(rights), program
