"""Every alert fires once and resolves once, also when workers are killed: a real Kafka, real workers, kill -9."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from kafka import KafkaProducer

from streams.alerts.detector import step
from streams.alerts.policy import parse_policy
from streams.alerts.state import StreamState
from streams.events import ALERTS_TOPIC, SCORES_TOPIC, AudioSummary, QualityAlert, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.alerts import Webhook, make_score, webhook
from tests.support.processes import FREE_WORKER, Worker, killed_at_the_end
from tests.support.servers import KafkaServer
from tests.support.topics import Follower
from tests.support.waiting import wait_for

STREAMS = 24
SEGMENTS = 120
START = datetime.now(UTC) - timedelta(seconds=300)


def stream_scores(stream: int) -> list[SegmentScore]:
    """A stream with three bad stretches, each long enough to fire and to resolve; in a third of the streams they are black, and
    in another third without sound.
    """
    noise = random.Random(stream)
    scores = []
    for sequence in range(SEGMENTS):
        bad = (sequence + stream) % 40 >= 25
        black = 1.0 if bad and stream % 3 == 0 else 0.0
        audio = AudioSummary(present=True, silent=1.0 if bad and stream % 3 == 1 else 0.1)
        value = (30 if bad else 72) + noise.uniform(-3, 3)
        scores.append(make_score(sequence, value, stream=f"channel-{stream}", black=black, audio=audio, begin=START))
    scores[-1] = scores[-1].model_copy(update={"ended": True})
    return scores


@contextmanager
def two_workers(kafka: KafkaServer, folder: Path, policy: dict[str, object]) -> Iterator[tuple[list[Worker], Follower]]:
    """Two workers with the same alert policy, and a reader of the alerts topic."""
    create_topics(Connection(kafka.broker), 4, 1)
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(policy))
    settings = {
        "FVQ_BROKER": kafka.broker,
        "FVQ_GROUP": f"alerts-{folder.name}",
        "FVQ_SESSION_TIMEOUT": "10",
        "FVQ_ALERT_POLICY": str(path),
        "FVQ_TEST_SINK": "none",
    }
    workers = [Worker(name, folder, command=FREE_WORKER, **settings) for name in ("a", "b")]
    topic = Follower(kafka.broker, ALERTS_TOPIC)
    with closing(topic), killed_at_the_end(*workers):
        for worker in workers:
            worker.start()
        yield workers, topic


def alerts_on(topic: Follower) -> list[QualityAlert]:
    """All alerts on the topic so far."""
    return [QualityAlert.from_bytes(value) for value in topic.read()]


def delivered(hook: Webhook) -> set[tuple[str, str]]:
    """Id and state of every alert that the webhook has received."""
    return {(body["alert_id"], body["state"]) for body in hook.bodies}  # type: ignore[index]


def send(producer: KafkaProducer, score: SegmentScore) -> None:
    producer.send(SCORES_TOPIC, key=score.stream_id.encode(), value=score.to_bytes())


@pytest.mark.timeout(900)
def test_alerts_fire_once_and_resolve_once_when_workers_are_killed(kafka: KafkaServer, tmp_path: Path) -> None:
    with webhook() as hook:
        policy = {
            # 600 s is longer than the test: shorter, and a slow machine would get `no-segments` alerts that a fast one does not.
            "alerts": {
                "no_segments": {"after": 600},
                "black": {"cool_down": 20},
                "low_quality": {"cool_down": 20},
                "silent": {"cool_down": 20},
            },
            # A run of all tests may come here an hour after this module read `START`.
            "receivers": [{"name": "hook", "type": "json", "url": hook.url, "give_up": 12 * 3600}],
        }
        streams = [stream_scores(stream) for stream in range(STREAMS)]
        expected, kinds = set(), set()
        for scores in streams:
            state = StreamState(scores[0].stream_id)
            for score in scores:
                state, alerts = step(state, score, parse_policy(policy).of({}))
                expected |= {(alert.alert_id, alert.state) for alert in alerts}
                kinds |= {alert.kind for alert in alerts}
        assert kinds >= {"black", "silent", "low-quality"}
        assert len(expected) > 4 * STREAMS

        with two_workers(kafka, tmp_path, policy) as (workers, topic):
            producer = KafkaProducer(bootstrap_servers=kafka.broker)
            for part in range(4):
                for sequence in range(part * SEGMENTS // 4, (part + 1) * SEGMENTS // 4):
                    for scores in streams:
                        send(producer, scores[sequence])
                    time.sleep(0.05)  # the pace of the streams
                if part < 3:
                    # Kill in the middle of the work, while alerts are open.
                    wait_for("alerts of this part", lambda part=part: len(alerts_on(topic)) > len(expected) * part // 4, 120)
                    workers[part % 2].kill()
                    workers[part % 2].start()
            producer.close()
            wait_for("all alerts", lambda: {(alert.alert_id, alert.state) for alert in alerts_on(topic)} >= expected, 120)
            wait_for("their delivery", lambda: delivered(hook) >= expected, 120)
            counts = Counter((alert.alert_id, alert.state) for alert in alerts_on(topic))
            firing = [alert.alert_id for alert in alerts_on(topic) if alert.state == "firing"]
            resolved = [alert.alert_id for alert in alerts_on(topic) if alert.state == "resolved"]
    assert set(counts) == expected
    assert set(counts.values()) == {1}
    assert sorted(firing) == sorted(resolved)
    assert delivered(hook) == expected


@pytest.mark.timeout(600)
def test_a_segment_of_a_wrong_clock_blinds_no_alert_also_after_the_workers_are_killed(kafka: KafkaServer, tmp_path: Path) -> None:
    with two_workers(kafka, tmp_path, {"alerts": {"no_segments": {"after": 600}, "black": {"cool_down": 0}}}) as (workers, topic):
        producer = KafkaProducer(bootstrap_servers=kafka.broker)
        stray = make_score(5, begin=START + timedelta(days=1)).model_copy(update={"sequence": 2**40})
        for score in (*(make_score(i, begin=START) for i in range(5)), stray, stray.model_copy(update={"sequence": 2**40 + 1})):
            send(producer, score)
        producer.flush()
        for worker in workers:
            worker.kill()
        workers[0].start()
        for sequence in range(5, 30):
            send(producer, make_score(sequence, black=1.0, begin=START))
        producer.flush()
        wait_for("the alert", lambda: len(alerts_on(topic)) == 1, 120)
        for sequence in range(30, 40):
            send(producer, make_score(sequence, begin=START))
        producer.close()
        wait_for("its end", lambda: len(alerts_on(topic)) == 2, 120)
        assert [(alert.kind, alert.state) for alert in alerts_on(topic)] == [("black", "firing"), ("black", "resolved")]


@pytest.mark.timeout(600)
def test_a_silent_stream_fires_once_and_resolves_once_when_the_workers_are_killed(kafka: KafkaServer, tmp_path: Path) -> None:
    policy = {"alerts": {"no_segments": {"after": 3, "cool_down": 0}}}
    with two_workers(kafka, tmp_path, policy) as (workers, topic):
        producer = KafkaProducer(bootstrap_servers=kafka.broker)
        for stream in ("goes-silent", "ends"):
            for sequence in range(5):
                ended = stream == "ends" and sequence == 4
                send(producer, make_score(sequence, stream=stream, begin=START, ended=ended))
        producer.flush()
        wait_for("the alert on the silent stream", lambda: len(alerts_on(topic)) == 1, 120)
        for worker in workers:
            worker.kill()
        workers[0].start()
        # The alert on a second silent stream shows that the restarted worker judges silence again.
        send(producer, make_score(0, stream="witness", begin=START))
        producer.flush()
        wait_for("the alert on the second silent stream", lambda: len(alerts_on(topic)) == 2, 120)
        # Its last one: it would else be silent again in three seconds.
        send(producer, make_score(5, stream="goes-silent", begin=START, ended=True))
        producer.close()
        wait_for("the first alert resolves", lambda: alerts_on(topic)[-1].state == "resolved", 120)
        seen = [(alert.stream_id, alert.kind, alert.state) for alert in alerts_on(topic)]
    assert seen == [
        ("goes-silent", "no-segments", "firing"),
        ("witness", "no-segments", "firing"),
        ("goes-silent", "no-segments", "resolved"),
    ]
    first, second, resolved = (json.loads(value)["alert_id"] for value in topic.values)
    assert first == resolved != second, "both states of an alert have the same id"
