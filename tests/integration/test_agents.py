"""The worker's agents survive a restart of the broker: a real Kafka, a real worker, and what its pages say."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.alerts import webhook
from tests.support.pages import metric, read_page
from tests.support.processes import FREE_WORKER, Worker
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

AGENTS = {
    *("lag", "model updates", "ingest states", "alerts", "alert acknowledgements", "alerts to hook"),
    *("harvest", "sweep", "folder sweep", "alert policy"),
}
OUTAGE_SECONDS = 15.0
"""Longer than the lag agent's time-out for a request, so that at least this agent notices the outage."""


def segments(folder: Path, first: int, count: int = 8) -> list[SegmentEvent]:
    """Segments of four streams, numbered from `first`."""
    media = folder / "segment.ts"
    media.touch()
    return [
        SegmentEvent(
            stream_id=f"channel-{number % 4}",
            segment_id=f"channel-{number % 4}/{number}",
            sequence=number,
            uri=media.as_uri(),
            start=datetime.now(UTC),
            duration=2.0,
        )
        for number in range(first, first + count)
    ]


def agent_states(port: int) -> dict[str, dict[str, Any]]:
    """What `/healthz` says of each agent, by the agent's name; nothing while there is no page."""
    status, text = read_page(port, "/healthz")
    if status == 0:
        return {}
    health = json.loads(text)
    assert (status, health["status"]) == (200, "alive")
    agents: dict[str, dict[str, Any]] = health["agents"]
    return agents


def all_agents_run(port: int) -> bool:
    states = agent_states(port)
    return set(states) == AGENTS and all(state["state"] == "running" for state in states.values())


@pytest.mark.timeout(900)
def test_a_worker_whose_broker_restarts_scores_again_and_all_its_agents_run(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    port = free_ports(1)
    with webhook() as hook:
        policy = tmp_path / "policy.yaml"
        policy.write_text(yaml.safe_dump({"receivers": [{"name": "hook", "type": "json", "url": hook.url}]}))
        settings = {
            "FVQ_BROKER": kafka.broker,
            "FVQ_GROUP": "agents",
            "FVQ_MODEL": "free",  # the model's own name, without a version: the worker follows the registry
            "FVQ_REGISTRY": str(tmp_path / "registry"),
            "FVQ_ALERT_POLICY": str(policy),
            "FVQ_MEDIA_ROOTS": str(tmp_path),
            "FVQ_LIVE_WINDOW": "off",
            "FVQ_SESSION_TIMEOUT": "6",
            "FVQ_WEB_PORT": str(port),
        }
        worker = Worker("worker", tmp_path, command=FREE_WORKER, **settings)
        follower = Follower(kafka.broker, SCORES_TOPIC)

        def produce_and_wait_for_scores(events: list[SegmentEvent]) -> None:
            produce(kafka.broker, SEGMENTS_TOPIC, events)
            ids = {event.segment_id for event in events}
            wait_for("every score", lambda: {SegmentScore.from_bytes(value).segment_id for value in follower.read()} >= ids, 90)

        try:
            worker.start()
            produce_and_wait_for_scores(segments(tmp_path, 0))
            wait_for("all agents run", lambda: all_agents_run(port), 120)

            kafka.stop()
            time.sleep(OUTAGE_SECONDS)  # the length of the outage, not a wait for a result
            wait_for("/healthz answers while the broker is down", lambda: set(agent_states(port)) == AGENTS, 60)
            kafka.start()

            produce_and_wait_for_scores(segments(tmp_path, 8))
            wait_for("all agents run again", lambda: all_agents_run(port), 120)
            restarts = {name: state["restarts"] for name, state in agent_states(port).items() if state["restarts"]}
            assert restarts, "no agent noticed the outage"
            for name, count in restarts.items():
                assert sum(metric(port, f'fvq_agent_restarts_total{{agent="{name}"}}')) >= count
            worker.stop()
        except BaseException:
            print(worker.tail())
            raise
        finally:
            worker.kill()
            follower.close()
