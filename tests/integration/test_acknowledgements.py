"""An alert is acknowledged on the command line, and every worker knows of it: a real Kafka."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from kafka import KafkaProducer

from streams.alerts.acknowledge import Acknowledgements
from streams.alerts.acks_topic import follow_agent
from streams.events import ALERT_ACKS_TOPIC, ALERTS_TOPIC, QualityAlert
from streams.kafka.agent import running
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.processes import fvq
from tests.support.servers import KafkaServer
from tests.support.waiting import wait_for

NOW = datetime.now(UTC)
ALERT = QualityAlert(
    alert_id="00112233aabbccdd", stream_id="studio/7", kind="black", state="firing", started_at=NOW, value=1,
    segment_id="studio/7/1",
    summary="studio/7: picture is black",
)  # fmt: skip
OVER = ALERT.model_copy(update={"alert_id": "ffeeddccbbaa0011", "state": "resolved", "ended_at": NOW + timedelta(seconds=9)})


def test_acknowledging_and_taking_back_reaches_every_worker(kafka: KafkaServer) -> None:
    connection = Connection(kafka.broker)
    create_topics(connection, 4, 1)
    producer = KafkaProducer(bootstrap_servers=kafka.broker)
    for alert in (ALERT, OVER.model_copy(update={"state": "firing", "ended_at": None}), OVER):
        producer.send(ALERTS_TOPIC, key=b"studio/7", value=alert.to_bytes()).get(timeout=60)
    producer.send(ALERT_ACKS_TOPIC, key=b"junk", value=b"{").get(timeout=60)
    producer.close()
    first, second = Acknowledgements(), Acknowledgements()
    agents = [follow_agent(connection, seen, lambda: [ALERT], lambda _: True) for seen in (first, second)]

    def by() -> list[str | None]:
        held = [seen.of(ALERT.alert_id, datetime.now(UTC)) for seen in (first, second)]
        return [acknowledgement.by if acknowledgement else None for acknowledgement in held]

    with running(agents, stop_seconds=10):
        done = fvq("alerts", "ack", ALERT.alert_id, "--by", "Kim", "--note", "on it", FVQ_BROKER=kafka.broker)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{ALERT.alert_id}: studio/7: picture is black; acknowledged by Kim\n"
        wait_for("both know", lambda: by() == ["Kim", "Kim"], 90)
        done = fvq("alerts", "ack", ALERT.alert_id, "--by", "Lee", "--until", "2h", FVQ_BROKER=kafka.broker)
        assert (done.returncode, done.stdout) == (1, "")
        assert "Kim has acknowledged it already (on it)" in done.stderr
        done = fvq("alerts", "unack", "0000", ALERT.alert_id, ALERT.alert_id, FVQ_BROKER=kafka.broker)
        assert (done.returncode, done.stdout) == (1, f"{ALERT.alert_id}: the acknowledgement of Kim is taken back\n")
        assert "fvq: nobody has acknowledged an alert '0000'" in done.stderr
        wait_for("both know", lambda: by() == [None, None], 90)
        done = fvq("alerts", "ack", OVER.alert_id, ALERT.alert_id, "--by", "Lee", FVQ_BROKER=kafka.broker)
        assert (done.returncode, done.stdout) == (1, f"{ALERT.alert_id}: studio/7: picture is black; acknowledged by Lee\n")
        assert f"alert {OVER.alert_id} is over since" in done.stderr
        wait_for("both know", lambda: by() == ["Lee", "Lee"], 90)
        assert fvq("alerts", "unack", ALERT.alert_id, FVQ_BROKER=kafka.broker).returncode == 0

    for arguments, reason in {
        ("ack", "0000", "--by", "Kim"): "there is no alert '0000'",
        ("ack", OVER.alert_id, "--by", "Kim"): f"alert {OVER.alert_id} is over since",
        ("ack", ALERT.alert_id, "--by", "Kim", "--until", "2020-01-01T00:00:00Z"): "until: 2020-01-01T00:00:00+00:00 is over",
        ("unack", ALERT.alert_id): "nobody has acknowledged an alert",
    }.items():
        done = fvq("alerts", *arguments, FVQ_BROKER=kafka.broker)
        assert (done.returncode, done.stdout) == (1, "")
        assert reason in done.stderr
