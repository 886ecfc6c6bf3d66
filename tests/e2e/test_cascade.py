"""The cascade in a real worker on the embedded broker: nano scores every segment, and an InternVL, scaled down, looks at some."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from scorer.model.bases import base_config, load_base, sampler_spec
from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentScore
from tests.e2e.test_worker import broker, event, segments, worker
from tests.support import tiny
from tests.support.processes import FREE_WORKER
from tests.support.scripted_scorer import ScriptedScorer
from tests.support.servers import free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

__all__ = ["broker", "segments"]

EVERYTHING_IS_LOW = {"FVQ_DEEP_LOW": "100", "FVQ_DEEP_SHARE": "1", "FVQ_DEEP_TIMEOUT": "20"}


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole FVQ-Rater on an InternVL of a few hundred kB, for frames of 56 px."""
    folder = tmp_path_factory.mktemp("large")
    base = tiny.bases(folder / "bases")["qwen2"]
    config = base_config(base)
    load_base(base, config=config).save_pretrained(folder / "model")
    sampler_spec(config, frames=2, portrait_frames=1).save(folder / "model")
    return folder / "model"


def answers(follower: Follower) -> list[SegmentScore]:
    return [SegmentScore.from_bytes(value) for value in follower.read()]


@pytest.mark.timeout(600)
def test_a_large_model_in_the_worker_looks_at_segments_and_each_has_one_answer(
    broker: str, segments: list[Path], large: Path, tmp_path: Path
) -> None:
    port = free_ports(1)
    events = [event(segments[number % len(segments)], number) for number in range(40)]
    produce(broker, SEGMENTS_TOPIC, events)
    follower = Follower(broker, SCORES_TOPIC)
    running = worker(
        broker, segments[0].parent, tmp_path, FVQ_DEEP_MODEL=str(large), FVQ_WEB_PORT=str(port), **EVERYTHING_IS_LOW
    ).start()
    try:
        wait_for("every score", lambda: len(follower.read()) >= len(events), 200)
        scores = answers(follower)
        assert sorted(score.segment_id for score in scores) == sorted(event.segment_id for event in events)
        deep = [score for score in scores if score.tier == "deep"]
        assert {score.tier for score in scores} == {"full", "deep"}
        assert 4 < len(deep) < len(events), "each look costs a token, and the first segments have to earn some"
        for score in deep:
            assert score.model is not None
            assert score.shallow is not None
            assert (score.model.name, score.shallow.model.name) == ("model", "nano")
            assert score.tier_reason in ("control", "alert", "changing", "low")
            assert score.timing["deep_ms"] > 0
        by_stream: dict[str, list[int]] = {}
        for score in scores:
            by_stream.setdefault(score.stream_id, []).append(score.sequence)
        assert all(sequences == sorted(sequences) for sequences in by_stream.values()), "answers stay in their order"
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
            metrics = page.read().decode()
        assert 'fvq_tier_segments_total{reason="low",tier="deep"}' in metrics
        assert f"fvq_deep_seconds_count {len(deep)}.0" in metrics
        running.stop()
        assert not list((tmp_path / "worker" / "inbox").rglob("*.*")), "no fetched file is left"
    finally:
        running.kill()
        follower.close()


@pytest.mark.timeout(600)
def test_a_served_large_model_that_comes_late_delays_nothing_before(broker: str, segments: list[Path], tmp_path: Path) -> None:
    port = free_ports(1)
    follower = Follower(broker, SCORES_TOPIC)
    url = f"http://127.0.0.1:{port}"
    running = worker(broker, segments[0].parent, tmp_path, command=FREE_WORKER, FVQ_DEEP_URL=url, **EVERYTHING_IS_LOW).start()
    sent = 0

    def send_until_deep() -> bool:
        nonlocal sent
        produce(broker, SEGMENTS_TOPIC, [event(segments[sent % len(segments)], sent + more) for more in range(5)])
        sent += 5
        return any(score.tier == "deep" for score in answers(follower))

    try:
        produce(broker, SEGMENTS_TOPIC, [event(segments[number % len(segments)], 1000 + number) for number in range(20)])
        wait_for("every score", lambda: len(follower.read()) >= 20, 150)
        assert {score.tier for score in answers(follower)} == {"full"}
        with ScriptedScorer(port):
            wait_for("a deep score", send_until_deep, 90, every=1.0)
        (deep, *_) = [score for score in answers(follower) if score.tier == "deep"]
        assert deep.model is not None
        assert deep.model.name == "scripted"
        running.stop()
    finally:
        running.kill()
        follower.close()
