"""Workers with a served scorer on a real Kafka: it is killed, replaced, overloaded; no segment is lost or has two scores."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.kafka.connection import Connection
from streams.kafka.topics import create_topics
from tests.support.doubles import SPEC
from tests.support.pages import metric, read_page
from tests.support.processes import FREE_WORKER, FVQ, ROOT, Worker, fvq, killed_at_the_end
from tests.support.scripted_scorer import ScriptedScorer
from tests.support.serve_process import STATISTICS
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

SEGMENTS = 1000
STREAMS = 20
TOKEN = "a-token-of-the-test"


def segment_events(media: Path, count: int, duration: float = 2.0) -> list[SegmentEvent]:
    """Segments in the order in which live streams would send them."""
    start = datetime.now(UTC) - timedelta(seconds=count // STREAMS * duration)
    return [
        SegmentEvent(
            stream_id=f"s-{number % STREAMS}",
            segment_id=f"s-{number % STREAMS}/{number // STREAMS}",
            sequence=number // STREAMS,
            uri=media.as_uri(),
            start=start + timedelta(seconds=number // STREAMS * duration),
            duration=duration,
        )
        for number in range(count)
    ]


def serving(process: Worker) -> bool:
    """Whether a served scorer is ready."""
    assert process.running, f"{process.name} ended by itself"
    return read_page(process.environment["FVQ_SERVE_PORT"], "/healthz")[0] == 200


@pytest.mark.timeout(1200)
def test_no_segment_is_lost_or_has_two_scores_while_the_scorer_is_killed_replaced_and_overloaded(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    create_topics(Connection(kafka.broker), partitions=4, replication=1)
    media = tmp_path / "segment.ts"
    media.touch()
    (tmp_path / "token").write_text(TOKEN)
    produce(kafka.broker, SEGMENTS_TOPIC, segment_events(media, SEGMENTS))
    # A queue that takes the batch of one worker and not that of the other: one of them waits for room all the time.
    serve = {
        "FVQ_SERVE_BATCH": "8",
        "FVQ_SERVE_QUEUE": "12",
        "FVQ_DEVICE": "cpu",
        "FVQ_SCORER_TOKEN_FILE": str(tmp_path / "token"),
    }
    scorers = [Worker(name, tmp_path, command=[FVQ, "serve"], FVQ_SERVE_PORT=str(free_ports(1)), **serve) for name in ("a", "b")]
    urls = ",".join(f"http://127.0.0.1:{scorer.environment['FVQ_SERVE_PORT']}" for scorer in scorers)
    settings = {
        "FVQ_BROKER": kafka.broker, "FVQ_GROUP": "scorer", "FVQ_LIVE_WINDOW": "off", "FVQ_MEDIA_ROOTS": str(tmp_path),
        "FVQ_TEST_STATISTICS": str(STATISTICS), "FVQ_SCORER_URL": urls, "FVQ_SCORER_TOKEN": TOKEN, "FVQ_SCORER_TIMEOUT": "20",
        "FVQ_ALERTS": "false", "FVQ_HARVEST": "false",
    }  # fmt: skip
    workers = [Worker(name, tmp_path, command=FREE_WORKER, **settings) for name in ("worker-1", "worker-2")]
    scores = Follower(kafka.broker, SCORES_TOPIC)

    def answers() -> Counter[str]:
        return Counter(SegmentScore.from_bytes(value).segment_id for value in scores.read())

    first, second = scorers
    started = time.monotonic()
    with killed_at_the_end(*scorers, *workers):
        first.start()
        for worker in workers:
            worker.start()
        port = first.environment["FVQ_SERVE_PORT"]
        wait_for("a request waits for room", lambda: metric(port, "fvq_scorer_waiting_requests") == [1.0], 180, every=0.02)
        wait_for("a fifth is answered", lambda: len(answers()) >= SEGMENTS // 5, 180)
        first.kill()
        second.start()
        wait_for("two fifths are answered, by the other replica", lambda: len(answers()) >= 2 * SEGMENTS // 5, 180)
        second.kill()
        second.start()
        wait_for("three fifths are answered, by a new process", lambda: len(answers()) >= 3 * SEGMENTS // 5, 180)
        first.start()
        wait_for("the new replica is ready", lambda: serving(first), 120)
        second.stop()
        wait_for("all are answered", lambda: len(answers()) >= SEGMENTS, 240)
        for worker in workers:
            worker.stop()
    counts = answers()
    print(f"\n{SEGMENTS} segments, {counts.total() - len(counts)} duplicates, {time.monotonic() - started:.0f} s")
    assert len(counts) == SEGMENTS
    # A rebalance may repeat an answer: by its `segment_id` a reader keeps one, and it is the same one.
    answered = [SegmentScore.from_bytes(value) for value in scores.values]
    assert len({(score.segment_id, score.score, score.status, str(score.model)) for score in answered}) == SEGMENTS
    assert {(score.status, score.model.name) for score in answered if score.model is not None} == {("scored", "nano")}
    assert Follower(kafka.broker, DEAD_LETTER_TOPIC).read() == []
    for worker in workers:
        assert TOKEN not in worker.log.read_text()


@pytest.mark.timeout(600)
def test_a_worker_that_starts_before_its_scorer_waits_and_loads_no_torch(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    port, scorer_port = free_ports(1), free_ports(1)
    settings = {
        "FVQ_BROKER": kafka.broker, "FVQ_GROUP": "early", "FVQ_MEDIA_ROOTS": str(ROOT / "examples"), "FVQ_WEB_PORT": str(port),
        "FVQ_SCORER_URL": f"http://127.0.0.1:{scorer_port}", "FVQ_SAMPLER_WORKERS": "1", "FVQ_LIVE_WINDOW": "off",
        # On a machine that stands still, a shorter time would have it send the same clips again, and answer them again.
        "FVQ_SCORER_TIMEOUT": "120", "FVQ_SESSION_TIMEOUT": "60",
    }  # fmt: skip
    produce(kafka.broker, SEGMENTS_TOPIC, segment_events(ROOT / "examples/face.mp4", 3))
    worker = Worker("worker", tmp_path, **settings)
    scores = Follower(kafka.broker, SCORES_TOPIC)
    with killed_at_the_end(worker):
        worker.start()
        wait_for("readyz names the scorer", lambda: "ConnectionRefusedError" in read_page(port, "/readyz")[1], 90)
        assert read_page(port, "/readyz")[0] == 503
        assert read_page(port, "/healthz")[0] == 200
        assert scores.read() == []
        with ScriptedScorer(scorer_port, spec=SPEC, statistics=109) as scorer:
            wait_for("answers", lambda: len(scores.read()) == 3, 90)
            wait_for("it is ready", lambda: read_page(port, "/readyz")[0] == 200, 90)
            assert "libtorch" not in Path(f"/proc/{worker.pid}/maps").read_text()
            assert sum(scorer.batches) == 3
        assert worker.log.read_text().count("no segments are taken until the scorer answers") == 1
        worker.stop()
    assert not list(tmp_path.rglob("segment-*")), "no fetched file is left"


@pytest.mark.timeout(600)
def test_the_fallback_answers_says_so_and_hands_over_again(kafka: KafkaServer, tmp_path: Path) -> None:
    create_topics(Connection(kafka.broker), partitions=1, replication=1)
    port = free_ports(1)
    media = tmp_path / "segment.ts"
    media.touch()
    scores = Follower(kafka.broker, SCORES_TOPIC)

    def models() -> Counter[tuple[str, bool]]:
        found = [SegmentScore.from_bytes(value) for value in scores.read()]
        return Counter((score.model.name, score.fallback) for score in found if score.model is not None)

    with ScriptedScorer() as scorer:
        settings = {
            "FVQ_BROKER": kafka.broker, "FVQ_GROUP": "fallback", "FVQ_MEDIA_ROOTS": str(tmp_path), "FVQ_WEB_PORT": str(port),
            "FVQ_SCORER_URL": scorer.url, "FVQ_SCORER_FALLBACK": "free", "FVQ_LIVE_WINDOW": "off",
            "FVQ_SESSION_TIMEOUT": "60",
        }  # fmt: skip
        worker = Worker("worker", tmp_path, command=FREE_WORKER, **settings)
        with killed_at_the_end(worker):
            worker.start()
            produce(kafka.broker, SEGMENTS_TOPIC, segment_events(media, 20))
            wait_for("answers of the served model", lambda: models() == {("scripted", False): 20}, 90)
            scorer.behave(fault="500")
            produce(kafka.broker, SEGMENTS_TOPIC, segment_events(media, 20))
            wait_for("answers of the fallback", lambda: models()["free", True] == 20, 90)
            assert metric(port, "fvq_scorer_fallback") == [1]
            assert metric(port, 'fvq_model{name="free",version="1"}') == [1]
            assert read_page(port, "/readyz")[0] == 200
            scorer.behave()

            def scored_by_the_server_again() -> bool:
                produce(kafka.broker, SEGMENTS_TOPIC, segment_events(media, 2))
                return models()["scripted", False] > 20

            wait_for("answers of the served model again", scored_by_the_server_again, 90, every=1)
            assert metric(port, "fvq_scorer_fallback") == [0]
            assert metric(port, 'fvq_model{name="scripted",version="1"}') == [1]


def test_the_doctor_checks_each_address(tmp_path: Path) -> None:
    with ScriptedScorer(token=TOKEN) as good, ScriptedScorer(fault="500") as bad:
        urls = f"{good.url},{bad.url}"
        settings = {"FVQ_SCORER_URL": urls, "FVQ_SCORER_TOKEN": TOKEN, "FVQ_DATA_DIR": str(tmp_path)}
        report = json.loads(fvq("doctor", "--json", **settings).stdout)
        checks = {check["name"]: check for check in report["checks"]}
        assert not checks["scorer"]["ok"]
        assert f"{good.url} scripted@1, a score in " in checks["scorer"]["detail"]
        assert f"{bad.url} answered 500" in checks["scorer"]["detail"]
        assert (checks["model"]["ok"], checks["model"]["detail"]) == (True, "FVQ_SCORER_URL is set: a worker loads none")
        assert TOKEN not in json.dumps(report)
        report = json.loads(
            fvq("doctor", "--json", **settings | {"FVQ_SCORER_URL": good.url, "FVQ_SCORER_TOKEN": "wrong"}).stdout
        )
        (check,) = [check for check in report["checks"] if check["name"] == "scorer"]
        assert "FVQ_SCORER_TOKEN" in check["detail"]
