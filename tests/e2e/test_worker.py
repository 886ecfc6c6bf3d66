"""`fvq worker` and `fvq up` on the embedded broker: killed workers, hostile input, a clean stop."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer

from scorer.sampling import probe
from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from streams.ingest.files import cut, find_sources
from streams.kafka.connection import Connection
from streams.kafka.embedded import EmbeddedBroker
from streams.kafka.topics import create_topics
from tests.support.media import make_clip
from tests.support.processes import FVQ, PYTHON, ROOT, Worker, fvq
from tests.support.servers import free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

DEMO = ROOT / "examples/face.mp4"


@pytest.fixture
def broker() -> Iterator[str]:
    with EmbeddedBroker() as running:
        create_topics(Connection(running.address), partitions=4, replication=1)
        yield running.address


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    (source,) = find_sources(DEMO)
    return [segment.path for segment in cut(source, tmp_path_factory.mktemp("segments"), 2.0, probe)]


def event(path: Path, number: int, **changes: object) -> SegmentEvent:
    start = datetime.now(UTC) - timedelta(seconds=2)
    stream = f"stream-{number % 5}"
    fields = {
        "stream_id": stream,
        "segment_id": f"{stream}/{number}",
        "sequence": number,
        "uri": path.as_uri(),
        "start": start,
        "duration": 2.0,
    }
    return SegmentEvent(**(fields | changes))


def worker(
    broker: str, media: Path, folder: Path, name: str = "worker", command: list[str] | None = None, **settings: str
) -> Worker:
    defaults = {
        "FVQ_BROKER": broker,
        "FVQ_MEDIA_ROOTS": str(media),
        "FVQ_SESSION_TIMEOUT": "6",
        "FVQ_LIVE_WINDOW": "off",
        "FVQ_SAMPLER_WORKERS": "1",
    }
    return Worker(name, folder, command=command, **(defaults | settings))


def scored(follower: Follower) -> Counter[str]:
    """How many scores each segment has on the topic."""
    return Counter(SegmentScore.from_bytes(value).segment_id for value in follower.read())


@pytest.mark.timeout(600)
def test_a_killed_worker_loses_no_segment(broker: str, segments: list[Path], tmp_path: Path) -> None:
    events = [event(segments[number % len(segments)], number) for number in range(40)]
    produce(broker, SEGMENTS_TOPIC, events)
    follower = Follower(broker, SCORES_TOPIC)
    running = worker(broker, segments[0].parent, tmp_path).start()
    try:
        for count in (8, 20):
            wait_for(f"{count} scores", lambda count=count: len(scored(follower)) >= count, 150)
            running.kill()
            running.start()
        wait_for("every score", lambda: len(scored(follower)) == len(events), 150)
        counts = scored(follower)
        assert set(counts) == {event.segment_id for event in events}
        running.stop()
    finally:
        running.kill()
        follower.close()


def test_hostile_input_is_dead_lettered_with_its_bytes(broker: str, segments: list[Path], tmp_path: Path) -> None:
    media = segments[0].parent
    empty, text = media / "empty.ts", media / "text.ts"
    empty.write_bytes(b"")
    text.write_bytes(b"this is no video " * 100)
    sent = {
        b"\x00\xff": "event",
        b'{"stream_id": "a"}': "event",
        event(Path("/etc/passwd"), 1).to_bytes(): "refused",
        event(segments[0], 2, uri="http://169.254.169.254/latest").to_bytes(): "refused",
        event(segments[0], 3, uri="gopher://a/b").to_bytes(): "refused",
        event(segments[0], 8, uri="http://①②⑦.⓪.⓪.①/x").to_bytes(): "refused",
        event(segments[0], 9, uri="http://[::1").to_bytes(): "refused",
        event(media / "gone.ts", 4).to_bytes(): "not-found",
        event(empty, 5).to_bytes(): "empty",
        event(text, 6).to_bytes(): "undecodable",
    }
    producer = KafkaProducer(bootstrap_servers=broker)
    for value in sent:
        producer.send(SEGMENTS_TOPIC, key=b"k", value=value).get(timeout=60)
    producer.send(SEGMENTS_TOPIC, key=b"k", value=event(segments[0], 7).to_bytes()).get(timeout=60)
    producer.close()
    running = worker(broker, media, tmp_path).start()
    consumer = KafkaConsumer(DEAD_LETTER_TOPIC, bootstrap_servers=broker, auto_offset_reset="earliest", group_id=None)
    follower = Follower(broker, SCORES_TOPIC)
    letters: dict[bytes, dict[str, str]] = {}
    try:
        deadline = time.monotonic() + 150
        while len(letters) < len(sent) and time.monotonic() < deadline:
            for messages in consumer.poll(timeout_ms=500).values():
                for message in messages:
                    assert message.key == b"k"
                    letters[message.value] = {name: value.decode() for name, value in message.headers}
        assert {value: headers["kind"] for value, headers in letters.items()} == sent, running.tail()
        assert all(headers["reason"] and headers["topic"] == SEGMENTS_TOPIC for headers in letters.values())
        wait_for("the good segment after the bad ones", lambda: len(scored(follower)) == 1, 60)
    finally:
        running.kill()
        follower.close()
        consumer.close()


BROKEN = """
from streams.settings import load_settings
from streams.sinks.sqlite import SqliteSink
from streams.worker_start import start_worker

def add(self, score):
    raise KeyError("a bug")

SqliteSink.add = add
raise SystemExit(start_worker(load_settings()))
"""


@pytest.mark.timeout(600)
def test_a_worker_that_cannot_finish_a_batch_ends_and_the_next_worker_finishes_it(
    broker: str, segments: list[Path], tmp_path: Path
) -> None:
    events = [event(path, number) for number, path in enumerate(segments)]
    produce(broker, SEGMENTS_TOPIC, events)
    broken = worker(broker, segments[0].parent, tmp_path, name="broken", command=[PYTHON, "-c", BROKEN]).start()
    running = worker(broker, segments[0].parent, tmp_path)
    follower = Follower(broker, SCORES_TOPIC)
    try:
        wait_for("the end of the broken worker", lambda: not broken.running, 150)
        assert broken.process is not None
        assert broken.process.returncode == 1
        assert "a bug" in broken.tail()
        running.start()
        wait_for("every score", lambda: set(scored(follower)) == {event.segment_id for event in events}, 150)
    finally:
        broken.kill()
        running.kill()
        follower.close()


@pytest.mark.timeout(600)
def test_pages_and_a_graceful_stop(broker: str, segments: list[Path], tmp_path: Path) -> None:
    port = free_ports(1)
    running = worker(broker, segments[0].parent, tmp_path, FVQ_WEB_PORT=str(port)).start()

    def page(path: str, seconds: float = 60) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=seconds) as answer:
            return answer.read().decode()

    def ready() -> bool:
        try:
            return bool(json.loads(page("/readyz", 5))["ready"])
        except OSError:
            return False

    try:
        wait_for("ready", ready, 150)
        health = json.loads(page("/healthz"))
        assert health["status"] == "alive"
        assert set(health["agents"]) == {
            "lag",
            "model updates",
            "ingest states",
            "alerts",
            "alert acknowledgements",
            "harvest",
            "sweep",
            "folder sweep",
        }
        follower = Follower(broker, SCORES_TOPIC)
        late = event(segments[0], 90, start=datetime.now(UTC) - timedelta(hours=1))
        produce(broker, SEGMENTS_TOPIC, [late, *(event(path, number) for number, path in enumerate(segments))])
        wait_for("some scores", lambda: len(scored(follower)) >= 3, 150)
        metrics = page("/metrics")
        assert 'fvq_segments_total{status="scored"}' in metrics
        assert 'fvq_stage_seconds_count{stage="sample"}' in metrics
        assert running.terminate() == 0, running.tail()
        assert "\x1b" not in running.log.read_text(), "the log is for programs too"
        scored_before = scored(follower)
        # The worker answered each segment that it took before the stop; the next worker answers the rest.
        running.start()
        wait_for("the other scores", lambda: len(scored(follower)) == len(segments) + 1, 150)
        assert all(count == 1 for count in scored(follower).values()), "a graceful stop must not score a segment twice"
        assert len(scored_before) >= 3
        follower.close()
    finally:
        running.kill()


def test_old_segments_are_skipped_in_a_live_window(broker: str, segments: list[Path], tmp_path: Path) -> None:
    late = event(segments[0], 1, start=datetime.now(UTC) - timedelta(hours=1))
    fresh = event(segments[1], 2, start=datetime.now(UTC) + timedelta(seconds=120))  # not late, however late the worker
    produce(broker, SEGMENTS_TOPIC, [late, fresh])
    running = worker(broker, segments[0].parent, tmp_path, FVQ_LIVE_WINDOW="60").start()
    follower = Follower(broker, SCORES_TOPIC)
    try:
        wait_for("both scores", lambda: len(scored(follower)) == 2, 150)
        by_id = {score.segment_id: score for score in map(SegmentScore.from_bytes, follower.read())}
        assert by_id[late.segment_id].status == "skipped"
        assert "live window" in by_id[late.segment_id].reason
        assert by_id[fresh.segment_id].status == "scored"
    finally:
        running.kill()
        follower.close()


def test_up_shows_the_drop_and_the_recovery(tmp_path: Path) -> None:
    result = fvq("up", "--source", str(DEMO), "--fast", "--json", FVQ_DATA_DIR=str(tmp_path / "data"), seconds=150)
    assert result.returncode == 0, result.stderr
    assert "wall" not in result.stderr, "scripts that wait for the end need no page"
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    summary = lines[-1]
    assert summary["segments"] == round(probe(DEMO).duration / 2)
    (drop,) = summary["drops"]
    assert (drop["first"], drop["recovered"]) == (4, 8)
    assert drop["usual"] - drop["lowest"] > 15
    alerts = [line["alert"] for line in lines if "alert" in line]
    assert [(alert["kind"], alert["state"]) for alert in alerts] == [("quality-drop", "firing"), ("quality-drop", "resolved")]
    assert (tmp_path / "data" / "scores.sqlite").exists()


def test_up_plays_files_of_one_name_and_of_any_name_as_streams_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    make_clip(folder / "cam.mp4", 640, 360, 2, kind="face")
    make_clip(folder / "cam.mkv", 320, 180, 2, kind="face", options=("-vf", "gblur=sigma=6", "-pix_fmt", "yuv420p"))
    (folder / "100% [").mkdir()
    shutil.copy(folder / "cam.mp4", folder / "100% [/x].mp4")
    (folder / "bad.mp4").write_bytes(b"no video")
    result = fvq("up", "--source", str(folder), "--fast", FVQ_DATA_DIR=str(tmp_path / "data"), seconds=150)
    assert result.returncode == 1, "one file was not played"
    assert f"not played {folder}/bad.mp4: " in result.stdout
    means = dict(re.findall(r"^(.+): 1 segment, mean ([0-9.]+)", result.stdout, re.MULTILINE))
    assert set(means) == {"cam.mp4", "cam.mkv", "100% [/x]"}
    assert means["cam.mp4"] == means["100% [/x]"]
    assert float(means["cam.mkv"]) < 20 < float(means["cam.mp4"])


def test_up_keeps_hard_clips_over_its_runs(tmp_path: Path) -> None:
    settings = {"FVQ_DATA_DIR": str(tmp_path / "data")}

    def up_and_list() -> list[dict[str, object]]:
        result = fvq("up", "--source", str(DEMO), "--fast", seconds=150, **settings)
        assert result.returncode == 0, result.stderr
        listed: list[dict[str, object]] = json.loads(fvq("queue", "ls", "--json", **settings).stdout)
        return listed

    first = up_and_list()
    assert first[0]["stream_id"] == "face"
    assert {example["sequence"] for example in first} <= {4, 5, 6, 7}
    # The broker of the first run is gone, but its queue is in the clip store, so the second run keeps no clip of the same scene.
    assert up_and_list() == first
    removed = fvq("queue", "rm", "--stream", "face", **settings)
    assert removed.stdout.startswith(f"{len(first)} clip")
    assert "deleted of stream" in removed.stdout
    assert not [file for file in (tmp_path / "data/clips").rglob("*") if file.is_file()]


def test_ctrl_c_ends_up_in_order(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all processes of a group. A broker that ends first makes the worker wait for it."""
    log = tmp_path / "log"
    settings = {"FVQ_DATA_DIR": str(tmp_path / "data"), "FVQ_SCORER_URL": "http://127.0.0.1:9"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [FVQ, "up", "--source", str(DEMO)], env=os.environ | settings, stdout=output, stderr=output, start_new_session=True
        )
    try:
        wait_for("the worker", lambda: "no segments are taken until the scorer answers" in log.read_text(), 90)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(150) == 130
    finally:
        process.kill()
        process.wait()
    assert "ECONNREFUSED" not in log.read_text()


def test_up_plays_what_it_can_and_names_what_it_cannot(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "cut.mp4").write_bytes(DEMO.read_bytes()[:5000])
    settings = {"FVQ_DATA_DIR": str(tmp_path / "data")}
    alone = fvq("up", "--source", str(folder), "--fast", seconds=100, **settings)
    assert alone.returncode == 1
    assert "cut.mp4" in alone.stderr
    assert "Traceback" not in alone.stderr
    (folder / "good.mp4").write_bytes(DEMO.read_bytes())
    both = fvq("up", "--source", str(folder), "--fast", seconds=150, **settings)
    assert both.returncode == 1
    assert "not played" in both.stdout
    assert "good: 12 segments" in both.stdout
