"""An upgrade and the way back, as docs/operations.md describes them: workers of two versions side by side in one group.

The version before is an earlier commit of this repository (tests/support/old_version.py). A real Kafka, real workers, the shipped
model, segments of a real face; what differs between the streams is what happens to them, and when.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from streams.alerts.state import RenditionState, from_json
from streams.events import (
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    DEAD_LETTER_TOPIC,
    SCORES_TOPIC,
    SEGMENTS_TOPIC,
    QualityAlert,
    SegmentEvent,
    SegmentScore,
)
from tests.old_version import stores
from tests.support.alerts import Webhook, webhook
from tests.support.media import ffmpeg
from tests.support.old_version import THIS_VERSION, Version, unpack_old_version
from tests.support.pages import read_page
from tests.support.processes import ROOT, Worker, fvq
from tests.support.serve_process import TOKEN, fvq_serve
from tests.support.servers import KafkaServer, free_ports
from tests.support.topics import Follower, produce
from tests.support.waiting import wait_for

PATIENCE = 240.0
"""Seconds for one step on a machine that is busy with other work."""

PARTITIONS = 4
STREAMS = ("steady-0", "steady-1", "low", "falling", "dark", "quiet")
SECONDS, LOUD_SECONDS = 2.0, 8.0
"""What a segment says that it lasts; of the stream with sound, whose alert needs 10 s with sound and 20 s without, it is more."""

POLICY = {
    "smoothing": 0.5,
    "low_quality": {"threshold": 60, "minimum": 2, "clear": 2},
    "quality_drop": {"minimum": 2, "clear": 2, "warm_up": 8},
    "black": {"minimum": 2, "clear": 2},
    # Would be judged by the clock on the wall, which runs while workers start.
    "no_segments": {"enabled": False},
}

OLD_NOISE = re.compile(
    r" error   (Metadata refresh: failed Cancelled|LeaveGroup request for .* failed with error: .* UnknownMemberIdError"
    r"|<KafkaTCPTransport \[none\] \(closed\)>: Error receiving network data closing socket)$"
)
"""What the version before logs of kafka-python as an error if it ends while that asks for metadata or reads from a connection
that it has just closed, or while its group rebalances and the broker does not know the member that leaves. This version's log has
none of them."""


def make_media(folder: Path) -> dict[str, Path]:
    """Segments of a second of the demo clip's face, and what can be wrong with them, by name."""
    folder.mkdir()
    media = {name: folder / f"{name}.mp4" for name in ("good", "blurred", "black", "loud", "mute")}
    for name, picture in (("good", "scale=320:240"), ("blurred", "scale=320:240,gblur=sigma=2.5")):
        cut = ("-ss", "1", "-t", "1", "-i", ROOT / "examples/face.mp4", "-an", "-vf", picture)
        ffmpeg(*cut, "-c:v", "libx264", "-crf", "24", "-pix_fmt", "yuv420p", media[name])
    ffmpeg("-f", "lavfi", "-i", "color=black:size=320x240:rate=25:duration=1", "-pix_fmt", "yuv420p", media["black"])
    for name, sound in (("loud", "sine=440:duration=1"), ("mute", "anullsrc=duration=1")):
        copy = ("-t", "1", "-c:v", "copy", "-c:a", "aac")
        ffmpeg("-i", media["good"], "-f", "lavfi", "-i", sound, *copy, media[name])
    return media


class Upgrade:
    """Streams, a worker of each version, and what an outside reader sees of them."""

    def __init__(self, kafka: KafkaServer, folder: Path, old: Version, hook: Webhook) -> None:
        self.kafka, self.folder, self.code_before = kafka, folder, old
        self.hook = hook
        self.media = make_media(folder / "media")
        policy = folder / "policy.yaml"
        receiver = {"name": "hook", "type": "json", "url": hook.url}
        policy.write_text(yaml.safe_dump({"alerts": POLICY, "receivers": [receiver]}))
        self.settings = {
            "FVQ_BROKER": kafka.broker,
            "FVQ_GROUP": f"upgrade-{folder.name}"[:60],
            "FVQ_MEDIA_ROOTS": str(folder / "media"),
            "FVQ_LIVE_WINDOW": "off",
            "FVQ_SESSION_TIMEOUT": "18",  # nobody is killed; a shorter one ends where the machine stands still, which is an error
            "FVQ_SAMPLER_WORKERS": "1",
            "FVQ_DEVICE": "cpu",
            # One model for both: what differs between the versions is the code.
            "FVQ_MODEL": str(model_before(old)),
            "FVQ_PICTURES": "off",
            "FVQ_ALERT_POLICY": str(policy),
            "FVQ_CLIP_STORE": str(folder / "store"),
            # One clip of each stream is hard enough, by its score, its alert or its uncertainty.
            "FVQ_HARVEST_PER_HOUR": "1",
        }
        ports = {name: {"FVQ_WEB_PORT": str(free_ports(1))} for name in ("old", "new")}
        self.old = Worker("old", folder, 0, directory=old.folder, **self.settings, **old.settings, **ports["old"])
        self.new = Worker("new", folder, 1, **self.settings, **ports["new"])
        self.announced: list[str] = []
        self._followers: dict[str, Follower] = {}
        self._sequences: Counter[str] = Counter()
        self._times = dict.fromkeys(STREAMS, datetime.now(UTC) - timedelta(minutes=20))

    def open(self) -> None:
        """Follow the topics, which are there."""
        names = (SCORES_TOPIC, ALERTS_TOPIC, DEAD_LETTER_TOPIC, ALERT_STATE_TOPIC)
        self._followers.update({name: Follower(self.kafka.broker, name) for name in names})

    def close(self) -> None:
        for worker in (self.old, self.new):
            worker.kill()
        for follower in self._followers.values():
            follower.close()

    def start(self, worker: Worker) -> None:
        """Start a worker and wait until it and the other one, if it runs, have partitions, as an operator does."""
        worker.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        for worker in (self.old, self.new):
            if worker.running:
                port = worker.environment["FVQ_WEB_PORT"]
                self.wait(f"{worker.name} is ready", lambda port=port: read_page(port, "/readyz")[0] == 200)

    def announce(self, count: int, **shown: str) -> None:
        """Announce so many segments of each stream. shown: name of the stream -> of the media; without it, a good picture."""
        events = []
        for _ in range(count):
            for stream in STREAMS:
                seconds = LOUD_SECONDS if stream == "quiet" else SECONDS
                number = self._sequences[stream]
                events.append(
                    SegmentEvent(
                        stream_id=stream,
                        segment_id=f"{stream}/{number}",
                        sequence=number,
                        uri=self.media[shown.get(stream, "loud" if stream == "quiet" else "good")].as_uri(),
                        start=self._times[stream],
                        duration=seconds,
                    )
                )
                self._sequences[stream] += 1
                self._times[stream] += timedelta(seconds=seconds)
        produce(self.kafka.broker, SEGMENTS_TOPIC, events)
        self.announced += [event.segment_id for event in events]

    def play(self, count: int, **shown: str) -> None:
        """Announce segments as `announce` does, and wait until all are answered and their alerts judged."""
        self.announce(count, **shown)
        self.wait("all are answered", lambda: {score.segment_id for score in self.scores()} >= set(self.announced))
        self.wait("all are judged", self._all_judged)

    def scores(self) -> list[SegmentScore]:
        return [SegmentScore.from_bytes(value) for value in self._followers[SCORES_TOPIC].read()]

    def alerts(self) -> list[QualityAlert]:
        """All alerts, each stream's in their order."""
        return [QualityAlert.from_bytes(value) for value in self._followers[ALERTS_TOPIC].read()]

    def told(self, stream: str) -> list[tuple[str, str]]:
        """Kind and state of a stream's alerts, in their order; here both kinds of quality fire and end with the same segments."""
        return [(alert.kind, alert.state) for alert in self.alerts() if alert.stream_id == stream]

    def letters(self) -> list[bytes]:
        return self._followers[DEAD_LETTER_TOPIC].read()

    def states(self) -> dict[str, RenditionState]:
        """The stored state of each stream, read as this version reads it."""
        states = [from_json(value) for value in self._followers[ALERT_STATE_TOPIC].read() if value]
        return {state.stream_id: state.renditions[""] for state in states}

    def wait(self, expected: str, reached: Callable[[], bool]) -> None:
        wait_for(f"{expected}\n{self.old.tail()}\n{self.new.tail()}", reached, PATIENCE)

    def _all_judged(self) -> bool:
        states = self.states()
        return all(stream in states and states[stream].sequence == self._sequences[stream] - 1 for stream in STREAMS)


@contextmanager
def upgrade(kafka: KafkaServer, folder: Path) -> Iterator[Upgrade]:
    """An upgrade whose old version has made the topics; all ends with the context, and a failure prints the ends of the logs."""
    old = unpack_old_version(folder / "code-before")
    created = fvq("topics", "create", "--partitions", str(PARTITIONS), FVQ_BROKER=kafka.broker, **old.settings)
    assert created.returncode == 0, created.stdout + created.stderr
    with webhook() as hook:
        opened = Upgrade(kafka, folder, old, hook)
        opened.open()
        try:
            yield opened
        except BaseException:
            print(opened.old.tail(), opened.new.tail(), sep="\n")
            raise
        finally:
            opened.close()


def model_before(old: Version) -> Path:
    """The model that was in the package before."""
    return old.folder / "scorer" / "nano"


def is_old(score: SegmentScore) -> bool:
    """Whether the version before made a score: it did not say which signals it measures."""
    return score.signals_version is None


def kind_and_id(alerts: list[QualityAlert], state: str) -> Counter[tuple[str, str]]:
    return Counter((alert.kind, alert.alert_id) for alert in alerts if alert.state == state)


@pytest.mark.timeout(1800)
def test_an_upgrade_and_the_way_back_lose_and_double_nothing(kafka: KafkaServer, tmp_path: Path) -> None:
    with upgrade(kafka, tmp_path) as streams:
        # The old version alone: it learns what is usual, and one stream becomes bad.
        streams.start(streams.old)
        streams.play(5)
        streams.play(2, low="blurred")
        assert all(is_old(score) for score in streams.scores())
        assert all(state.baseline_seconds >= 5 * SECONDS for state in streams.states().values())
        assert streams.told("low") == [("low-quality", "firing"), ("quality-drop", "firing")]

        # The new version joins, after its own `fvq topics create`, while segments come. Nobody is told anything anew.
        created = fvq("topics", "create", "--partitions", str(PARTITIONS), FVQ_BROKER=kafka.broker)
        assert created.returncode == 0, created.stdout + created.stderr
        before = len(streams.scores())
        streams.new.start()
        streams.announce(1, low="blurred")
        streams.wait_until_ready()
        streams.play(1, low="blurred")
        assert {is_old(score) for score in streams.scores()[before:]} == {True, False}
        assert len(streams.alerts()) == 2

        # The old one ends. The new one goes on with what the old one knew: it ends the old one's alerts, and a drop is one
        # against the usual score of before. It raises kinds of alerts that both know, and one that only it knows.
        assert streams.old.terminate(60) == 0
        streams.wait_until_ready()
        streams.play(2, falling="blurred", dark="black")
        streams.play(3, low="good", falling="blurred", dark="black", quiet="mute")
        assert streams.told("low")[2:] == [("low-quality", "resolved"), ("quality-drop", "resolved")]
        assert streams.told("falling") == [("low-quality", "firing"), ("quality-drop", "firing")]
        (dropped,) = (alert for alert in streams.alerts() if alert.stream_id == "falling" and alert.kind == "quality-drop")
        assert dropped.baseline == pytest.approx(streams.states()["steady-0"].baseline, abs=2)
        assert streams.told("dark") == [("black", "firing")]
        assert streams.told("quiet") == [("silent", "firing")]
        (black,) = (alert for alert in streams.alerts() if alert.kind == "black")
        acknowledged = fvq("alerts", "ack", black.alert_id, "--by", "kim", **streams.settings)
        assert acknowledged.returncode == 0, acknowledged.stderr

        # The way back: the old version joins again, the new one ends. The old one reads all that the new one wrote.
        streams.start(streams.old)
        streams.play(1, falling="blurred", dark="black", quiet="mute")
        assert streams.new.terminate(60) == 0
        streams.wait_until_ready()
        count = len(streams.scores())
        streams.play(3, quiet="mute")
        assert all(is_old(score) for score in streams.scores()[count:])
        assert streams.told("falling")[2:] == [("low-quality", "resolved"), ("quality-drop", "resolved")]
        assert streams.told("dark") == [("black", "firing"), ("black", "resolved")]
        code_before = streams.code_before.settings
        queue = lambda: json.loads(fvq("queue", "ls", "--json", **streams.settings, **code_before).stdout)  # noqa: E731
        streams.wait("a clip of each version", lambda: {"low", "falling"} <= {example["stream_id"] for example in queue()})
        taken_back = fvq("alerts", "unack", black.alert_id, **streams.settings, **code_before)
        assert taken_back.returncode == 0, taken_back.stderr

        # Forward again: what the old one did not know goes on as well.
        streams.start(streams.new)
        streams.play(1, quiet="mute")
        assert streams.old.terminate(60) == 0
        streams.wait_until_ready()
        streams.play(1)
        assert streams.told("quiet") == [("silent", "firing"), ("silent", "resolved")]

        assert streams.letters() == []
        check_scores(streams.scores(), streams.announced)
        fired, ended = kind_and_id(streams.alerts(), "firing"), kind_and_id(streams.alerts(), "resolved")
        assert fired == ended, "each alert has one end"
        assert set(fired.values()) == {1}, "none is told twice"
        told = {(alert.alert_id, alert.state) for alert in streams.alerts()}
        streams.wait("the receiver is told of all", lambda: hooked(streams) == told)
        assert failures(streams.new) == []
        assert [line for line in failures(streams.old) if not OLD_NOISE.search(line)] == []


def failures(worker: Worker) -> list[str]:
    """The lines of a worker's log that tell of errors; a traceback belongs to the error before it."""
    lines = worker.log.read_text().splitlines()
    errors = [re.search(r"^[0-9:.]+ (error|critical) ", line) is not None for line in lines]
    return [
        line
        for is_after_error, is_error, line in zip([False, *errors], errors, lines, strict=False)
        if is_error or ("Traceback" in line and not is_after_error)
    ]


def hooked(streams: Upgrade) -> set[tuple[str, str]]:
    """Id and state of the alerts that the receiver was told of."""
    return {(body["alert_id"], body["state"]) for body in streams.hook.bodies if isinstance(body, dict)}


def check_scores(scores: list[SegmentScore], announced: list[str]) -> None:
    """Each segment has one answer; where two workers answered it, they say the same. All versions score a picture alike."""
    by_segment: dict[str, set[float | None]] = defaultdict(set)
    by_media: dict[str, list[float]] = defaultdict(list)
    for score in scores:
        assert score.score is not None, score
        by_segment[score.segment_id].add(score.score)
        by_media[score.uri].append(score.score)
    print(f"{len(announced)} segments, {len(scores) - len(by_segment)} of them answered twice")
    assert set(by_segment) == set(announced)
    assert all(len(values) == 1 for values in by_segment.values())
    assert all(max(values) - min(values) < 1 for values in by_media.values())


def test_the_version_before_reads_what_this_one_stores(tmp_path: Path) -> None:
    old = unpack_old_version(tmp_path / "code-before")
    audio = {"present": True, "codec": "aac", "loudness": -23.0, "silent": 0.0}
    stores.write(tmp_path / "stored", {"SegmentScore": {"audio": audio, "signals_version": 2}})
    read = json.loads(old.python(Path(stores.__file__).read_text(), "read", str(tmp_path / "stored")))
    assert stores.differences(read, stores.read(tmp_path / "stored")) == []


ASK = """
import sys
from pathlib import Path
from scorer.remote.client import RemoteScorer
from scorer.sampling import sample
address, token, clip = sys.argv[1:]
scorer = RemoteScorer([address], lambda: token)
scorer.connect()
((_, sampled),) = sample(Path(clip), scorer.spec)
print(scorer.score([sampled])[0].score)
"""
"""Scores a clip at a served scorer, as a worker does."""


@pytest.mark.timeout(900)
def test_a_served_scorer_of_one_version_serves_workers_of_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = unpack_old_version(tmp_path / "code-before")
    clip = str(make_media(tmp_path / "media")["good"])
    scores = []
    for number, (server, worker) in enumerate(((old, THIS_VERSION), (THIS_VERSION, old))):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(server.folder)  # the server's child that tries the model runs there
        with fvq_serve(folder, seconds=PATIENCE, **server.settings, FVQ_MODEL=str(model_before(old))) as served:
            scores.append(float(worker.python(ASK, f"http://127.0.0.1:{served.port}", TOKEN, clip)))
    assert scores[0] == pytest.approx(scores[1], abs=1)
