"""A Kafka with an authorizer: each program works with exactly the rights of the documented list, and says which one it lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from streams.errors import BrokerError
from streams.events import ALERTS_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, ModelUpdate, QualityAlert, SegmentEvent
from streams.kafka.allowed import check_rights
from streams.kafka.connection import Connection
from streams.kafka.rights import NEEDS, Right, rights_of
from streams.kafka.topics import wanted_topics
from streams.models.announce import announce
from tests.support.acls import Accounts
from tests.support.pages import read_page
from tests.support.processes import FVQ, ROOT, Worker, fvq
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(1200)
DEMO = ROOT / "examples/face.mp4"


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A running Apache Kafka on which users may do only what ACLs allow."""
    server = KafkaServer(tmp_path_factory.mktemp("strict-kafka") / "data", secure=True, acls=True)
    server.start(seconds=500)
    yield server
    server.kill()


@pytest.fixture(scope="module")
def accounts(strict: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """Its users. The topics are there: a user made them who may do no more than that."""
    users = Accounts(strict, tmp_path_factory.mktemp("passwords"))
    created = fvq("topics", "create", **users.add("topics-maker", "fvq topics create"))
    assert created.returncode == 0, created.stderr
    assert created.stdout.splitlines() == [f"created {name}" for name in wanted_topics(1)]
    yield users
    users.close()


def demo_segments(accounts: Accounts, folder: Path) -> int:
    """Announce the demo's segments; returns their number."""
    announced = fvq(
        "ingest", "--source", str(DEMO), "--fast", FVQ_DATA_DIR=str(folder), **accounts.add("files", "fvq ingest files")
    )
    assert announced.returncode == 0, announced.stderr
    return len(announced.stdout.splitlines())


COMMANDS: dict[str, list[str]] = {
    "fvq topics check": ["topics", "check"],
    "fvq topics create --alter": ["topics", "create", "--alter"],
    "fvq sources": ["sources", "--json"],
    "fvq alerts ack": ["alerts", "ack", "ALERT", "--by", "me"],
    "fvq queue ls": ["queue", "ls", "--json"],
    "fvq dead-letters ls": ["dead-letters", "ls", "--json"],
    "fvq dead-letters replay": ["dead-letters", "replay", "--all"],
    "fvq dead-letters rm": ["dead-letters", "rm", "--all"],
    "fvq queue rm": ["queue", "rm", "--stream", "door"],
    "fvq history fill": ["history", "fill", "--from", "1d"],
    "fvq forget": ["forget", "face", "--yes"],
}
"""A command of each row of the list, which ends by itself."""

INCLUDED_IN = {"Describe": {"Read", "Write", "Delete"}, "DescribeConfigs": {"AlterConfigs"}}
"""By an operation, those that include it, as Kafka's authorizer has it."""


def test_everything_works_with_the_rights_of_the_list_and_no_others(
    accounts: Accounts, strict: KafkaServer, tmp_path: Path
) -> None:
    """Each row of the list is tried by a user of its own, which has these rights alone."""
    wall_port, ingest_port = free_ports(1), free_ports(1)
    policy, recorder, broken = tmp_path / "policy.yaml", tmp_path / "recorder", tmp_path / "broken.mp4"
    policy.write_text("receivers: [{name: on-call, type: json, url: 'http://127.0.0.1:9'}]")
    recorder.mkdir()
    broken.write_text("no video")
    media = {"FVQ_MEDIA_ROOTS": str(tmp_path), "FVQ_LIVE_WINDOW": "off", "FVQ_ALERT_POLICY": str(policy)}
    store = {"FVQ_CLIP_STORE": str(tmp_path / "clips"), "FVQ_DATA_DIR": str(tmp_path / "worker")}
    page = {"FVQ_INGEST_PORT": str(ingest_port)}
    worker = Worker("worker", tmp_path, **accounts.add("u-worker", "fvq worker"), **media, **store)
    wall = Worker("wall", tmp_path, command=[FVQ, "web", "--port", str(wall_port)], **accounts.add("u-web", "fvq web"))
    folder = [FVQ, "ingest", "folder", f"door={recorder}"]
    ingest = Worker("ingest", tmp_path, command=folder, **accounts.add("u-live", "fvq ingest hls"), **page)
    rate = Worker("rate", tmp_path, command=[FVQ, "rate", "serve", "--port", "0"], **accounts.add("u-rate", "fvq rate"), **store)
    with ExitStack() as stack:
        for process in (worker, wall, ingest):
            stack.callback(process.start().kill)
        scores, alerts = Follower(strict.inner, SCORES_TOPIC), Follower(strict.inner, ALERTS_TOPIC)
        stack.callback(scores.close)
        stack.callback(alerts.close)
        count = demo_segments(accounts, tmp_path)
        now = datetime.now(UTC)
        produce(
            strict.inner,
            SEGMENTS_TOPIC,
            [SegmentEvent(stream_id="b", segment_id="b/0", sequence=0, uri=broken.as_uri(), start=now, duration=2.0)],
        )
        wait_for("every score", lambda: len(scores.read()) >= count, 200)
        wait_for("an alert", lambda: bool(alerts.read()), 60)
        wait_for("the wall has read", lambda: read_page(wall_port, "/readyz")[0] == 200, 120)
        wait_for("the wall's stream", lambda: '"face"' in read_page(wall_port, "/api/v1/streams")[1], 30)
        wait_for("the recorder's folder is watched", lambda: '"door"' in read_page(ingest_port, "/status")[1], 60)
        (tmp_path / "part").write_bytes(DEMO.read_bytes())
        (tmp_path / "part").rename(recorder / "a.mp4")
        wait_for("the recorder's scores", lambda: any(b'"door"' in value for value in scores.read()), 120)
        wait_for("a clip to rate", lambda: "stored to be rated" in worker.log.read_text(), 60)
        wait_for("the dead letter", lambda: "dead letter" in worker.log.read_text(), 60)
        stack.callback(rate.start().kill)
        wait_for("the rating page", lambda: "Running on" in rate.tail(), 60)
        for process in (worker, wall, ingest, rate):
            text = process.log.read_text()
            assert "Kafka refuses" not in text, text
            assert "AuthorizationFailed" not in text, text
            process.stop()
    alert = QualityAlert.from_bytes(alerts.values[0])
    alert = alert.model_copy(update={"alert_id": "0123456789abcdef", "state": "firing", "ended_at": None})
    produce(strict.inner, ALERTS_TOPIC, [alert])  # those of the demo are over
    for program, command in COMMANDS.items():
        user = program.replace(" ", "-").replace("--", "")
        words = [alert.alert_id if word == "ALERT" else word for word in command]
        done = fvq(*words, **accounts.add(user, program), **store)
        assert done.returncode == 0, (program, done.stdout, done.stderr)
        if program == "fvq dead-letters replay":
            assert done.stdout.startswith("1 letter sent again"), done.stdout
    accounts.add("u-promoter", "fvq promote")
    promoter = accounts.connection("u-promoter")
    wait_for("the promoter's rights", lambda: not problem_of(promoter, "fvq promote"), 60)
    announce(promoter, ModelUpdate(name="nano", time=now))
    tried = {"fvq worker", "fvq web", "fvq ingest hls", "fvq ingest files", "fvq rate", "fvq promote", "fvq topics create"}
    assert tried | set(COMMANDS) == set(NEEDS), "each row of the list is tried"


@pytest.mark.parametrize("program", COMMANDS)
def test_a_command_says_what_its_user_may_not_do(accounts: Accounts, tmp_path: Path, program: str) -> None:
    refused = fvq(*COMMANDS[program], FVQ_DATA_DIR=str(tmp_path), **accounts.add("stranger"))
    output = refused.stdout + refused.stderr
    assert refused.returncode == 1, output
    assert "Kafka refuses user stranger " in output
    assert "Traceback" not in output
    topics = {right.name for right in rights_of(NEEDS[program], "fvq", named=str) if right.resource == "topic"}
    assert any(f"on topic {name}" in output for name in topics), output


@pytest.mark.parametrize(
    ("command", "program"),
    [(["worker"], "fvq worker"), (["web", "--port", "0"], "fvq web"), (["ingest", "folder", "a=."], "fvq ingest hls")],
)
def test_a_process_does_not_start_without_its_rights_and_names_them_all(
    accounts: Accounts, tmp_path: Path, command: list[str], program: str
) -> None:
    ports = {"FVQ_WEB_PORT": "0", "FVQ_INGEST_PORT": "0"}
    refused = fvq(*command, FVQ_DATA_DIR=str(tmp_path), **ports, **accounts.add("stranger"))
    assert refused.returncode == 1, refused.stdout + refused.stderr
    line = refused.stderr.strip().splitlines()[-1]
    assert f"Kafka does not let user stranger do what `{program}` needs" in line
    assert all(right.name in line for right in rights_of(NEEDS[program], "fvq", named=str))
    assert "Traceback" not in refused.stderr


def problem_of(connection: Connection, program: str) -> str:
    """What a program's user may not do, as the program says it."""
    try:
        check_rights(connection, program, rights_of(NEEDS[program], "fvq", named=str))
    except BrokerError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("program", ["fvq worker", "fvq ingest files", "fvq topics create --alter", "fvq forget"])
def test_each_right_that_is_missing_is_found(accounts: Accounts, program: str) -> None:
    user = f"one-less-{program.replace(' ', '-')}"
    accounts.add(user)
    connection, rights = accounts.connection(user), rights_of(NEEDS[program], "fvq", named=str)

    # Kafka's controller has taken a change of ACLs some moments before the broker knows it.
    for right in rights:
        accounts.grant(user, right)
    wait_for("all rights", lambda: not problem_of(connection, program), 60)
    for right in rights:
        accounts.take(user, right)
        operations = {other.operation for other in rights if other.name == right.name and other != right}
        if not operations & INCLUDED_IN.get(right.operation, set()):
            # Without Describe Kafka does not tell the other rights either: they follow.
            named = f"user {user} do what `{program}` needs: {right}"
            wait_for(named, lambda expected=named: expected in problem_of(connection, program), 60)
        accounts.grant(user, right)
        wait_for("all rights again", lambda: not problem_of(connection, program), 60)


def test_a_command_that_may_not_see_settings_does_not_take_them_for_right(accounts: Accounts, tmp_path: Path) -> None:
    """kafka-python gives no settings, and no error, of a topic whose settings the user may not see."""
    settings = accounts.add("no-settings", "fvq queue ls")
    for name in wanted_topics(1):
        accounts.grant("no-settings", Right("topic", name, "Read"))
        accounts.grant("no-settings", Right("topic", name, "Write"))
    for command in (["topics", "check"], ["forget", "nobody", "--dry-run"]):
        refused = fvq(*command, FVQ_DATA_DIR=str(tmp_path), **settings)
        assert refused.returncode == 1, refused.stdout
        assert "Kafka refuses user no-settings DescribeConfigs on topic" in refused.stdout + refused.stderr


def test_the_doctor_names_missing_rights_for_a_role_and_the_programs_without_one(accounts: Accounts, tmp_path: Path) -> None:
    settings = accounts.add("door", "fvq ingest hls") | {"FVQ_DATA_DIR": str(tmp_path)}

    def rights(*options: str) -> dict[str, object]:
        report = json.loads(fvq("doctor", "--json", *options, **settings).stdout)
        (check,) = [check for check in report["checks"] if check["name"] == "rights"]
        assert check["seconds"] > 0
        return dict(check)

    ingest, web, any_role = rights("--for", "ingest"), rights("--for", "web"), rights()
    assert ingest["ok"]
    assert ingest["detail"] == (
        "user door may for `fvq ingest hls`: Read on topic ingest-state; Write on topic video-segments, ingest-state"
    )
    assert not web["ok"]
    assert str(web["detail"]).startswith("user door lacks for `fvq web`: Read on topic segment-scores, quality-alerts")
    assert any_role["ok"], "a user of its own for each program is right"
    assert str(any_role["detail"]).startswith("user door may run `fvq ingest hls`; for `fvq worker` it lacks ")


def test_a_right_that_is_taken_away_is_an_outage_and_nothing_is_lost(
    accounts: Accounts, strict: KafkaServer, tmp_path: Path
) -> None:
    settings = accounts.add("unlucky", "fvq worker") | {"FVQ_MEDIA_ROOTS": str(tmp_path), "FVQ_LIVE_WINDOW": "off"}
    right = Right("topic", SCORES_TOPIC, "Write")
    worker = Worker("worker", tmp_path, **settings, FVQ_HARVEST="false", FVQ_PICTURES="off").start()
    scores = Follower(strict.inner, SCORES_TOPIC)
    try:
        before = len(scores.read())
        wait_for("the worker reads", lambda: "rebalance: this worker reads partitions" in worker.tail(), 120)
        accounts.take("unlucky", right)
        count = demo_segments(accounts, tmp_path)
        wait_for("the reason", lambda: f"Kafka refuses this program's user Write on topic {SCORES_TOPIC}" in worker.tail(), 120)
        accounts.grant("unlucky", right)
        wait_for("every score", lambda: len(scores.read()) >= before + count, 120)
        wait_for("the end of the outage", lambda: "outage of kafka is over" in worker.tail(), 30)
        worker.stop()
    finally:
        worker.kill()
        scores.close()


def test_a_password_is_replaced_by_a_second_user_and_a_rolling_restart(
    accounts: Accounts, strict: KafkaServer, tmp_path: Path
) -> None:
    """The steps of docs/operations.md; and what another password of the same user does to those that run, and that start."""
    media = {"FVQ_MEDIA_ROOTS": str(tmp_path), "FVQ_LIVE_WINDOW": "off", "FVQ_HARVEST": "false", "FVQ_PICTURES": "off"}
    first = Worker("first", tmp_path, **accounts.add("rolling-1", "fvq worker"), **media)
    second = Worker("second", tmp_path, **accounts.add("rolling-2", "fvq worker"), **media)
    scores = Follower(strict.inner, SCORES_TOPIC)
    with ExitStack() as stack:
        stack.callback(scores.close)
        expected = len(scores.read())
        for worker in (first, second):
            stack.callback(worker.start().kill)
            wait_for(f"{worker.name} reads", lambda text=worker: "reads partition" in text.tail(), 240)
            expected += demo_segments(accounts, tmp_path)
        first.terminate()  # a stop that is cut short on a busy machine loses nothing either
        accounts.remove("rolling-1")
        expected += demo_segments(accounts, tmp_path)
        wait_for("every score", lambda: len(scores.read()) >= expected, 240)
        # The same user gets another password: who is connected goes on, and who starts needs the new one.
        old = accounts.settings("rolling-2")
        (tmp_path / "old").write_text(Path(old["FVQ_KAFKA_PASSWORD_FILE"]).read_text())
        accounts.set_password("rolling-2", "another")
        expected += demo_segments(accounts, tmp_path)
        wait_for("every score", lambda: len(scores.read()) >= expected, 240)
        # Kafka may be slow here; it must not refuse.
        assert not re.search("outage.*(Authentication|refuses)", second.log.read_text()), second.tail()
        assert fvq("topics", "check", **(old | {"FVQ_KAFKA_PASSWORD_FILE": str(tmp_path / "old")})).returncode == 1
