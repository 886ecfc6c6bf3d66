"""From encoders to scores: `fvq ingest push`, real RTMP and SRT, a real Kafka and `fvq worker`; and kill -9 in mid-stream."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pytest

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from tests.support.media import ffmpeg
from tests.support.processes import FVQ, Worker, fvq
from tests.support.rtmp import run_ffmpeg
from tests.support.servers import KafkaServer, free_ports, takes_datagrams
from tests.support.topics import Follower
from tests.support.waiting import wait_for

KEY, PASSPHRASE = "s3cret-key", "s3cret-passphrase"


def processes_in(folder: Path) -> list[int]:
    """Process ids of what runs in a folder: ffmpeg runs in its epoch's."""
    running = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                running.append(int(process.name))
        except OSError:  # it has ended, or is not ours
            continue
    return running


def arguments_of(pids: list[int]) -> list[str]:
    """What `ps` shows of processes."""
    return [Path(f"/proc/{pid}/cmdline").read_text() for pid in pids]


@pytest.mark.timeout(900)
async def test_what_encoders_push_is_scored_and_a_killed_ingester_goes_on(kafka: KafkaServer, tmp_path: Path) -> None:
    await asyncio.to_thread(fvq, "topics", "create", FVQ_BROKER=kafka.broker)
    clip = tmp_path / "clip.mp4"
    video = ("-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p")
    await asyncio.to_thread(
        ffmpeg, "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10", "-t", "2", "-threads", "1", *video, clip
    )
    rtmp, srt, web = (free_ports(1) for _ in range(3))
    sources = tmp_path / "sources.txt"
    sources.touch(0o600)
    sources.write_text(
        f"studio/one=rtmp://127.0.0.1:{rtmp}/live/{KEY}?mode=listener\n"
        f"studio/two=srt://127.0.0.1:{srt}?mode=listener&passphrase={PASSPHRASE}\n"
    )
    settings = {"FVQ_BROKER": kafka.broker, "FVQ_INGEST_PORT": str(web)}
    ingester = Worker("ingest", tmp_path, command=[FVQ, "ingest", "push", "--list", str(sources)], **settings)
    spool = tmp_path / "ingest" / "ingest" / "push"
    worker = Worker(
        "worker", tmp_path, FVQ_BROKER=kafka.broker, FVQ_MEDIA_ROOTS=str(spool), FVQ_SAMPLER_WORKERS="1", FVQ_LIVE_WINDOW="off",
        FVQ_ALERTS="false", FVQ_HARVEST="false",
    ).start()  # fmt: skip
    pushes = [
        ("-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/{KEY}"),
        ("-f", "mpegts", f"srt://127.0.0.1:{srt}?passphrase={PASSPHRASE}"),
    ]
    segments = await asyncio.to_thread(Follower, kafka.broker, SEGMENTS_TOPIC)
    scores = await asyncio.to_thread(Follower, kafka.broker, SCORES_TOPIC)

    def events() -> list[SegmentEvent]:
        return [SegmentEvent.from_bytes(value) for value in list(segments.read())]

    def epochs() -> set[Path]:
        return {Path(event.uri).parent for event in events()}

    def counts(before: set[Path]) -> list[int]:
        """Segments of each stream in other epochs than these."""
        later = [event.stream_id for event in events() if Path(event.uri).parent not in before]
        return [later.count(name) for name in ("studio/one", "studio/two")]

    def scored() -> set[str]:
        answers = [SegmentScore.from_bytes(value) for value in list(scores.read())]
        return {answer.stream_id for answer in answers if answer.status == "scored"}

    statuses: list[str] = []

    def both_are_live() -> bool:
        statuses.append(fvq("ingest", "status", "--json", **settings).stdout)
        return {source["state"] for source in json.loads(statuses[-1])["sources"]} == {"live"}

    async def until(expected: str, reached: Callable[..., bool]) -> None:
        await asyncio.to_thread(wait_for, expected, reached, 120)

    try:
        for wanted in (1, 2):
            ingester.start()
            await until("it waits", lambda wanted=wanted: ingester.log.read_text().count("studio/two is waiting") >= wanted)
            await until("ffmpeg runs", lambda: bool(processes_in(spool)))
            # ffmpeg runs, and does not say when it listens; an encoder that comes before it finds nothing.
            await until("SRT is listened for", lambda: takes_datagrams(srt))
            before = await asyncio.to_thread(epochs)
            encoders = [await run_ffmpeg(clip, *push) for push in pushes]
            await until("two segments of each in epochs of this start", lambda before=before: min(counts(before)) >= 2)
            running = arguments_of([ingester.pid, *processes_in(spool)])
            # A source with segments may be late at any one moment on a busy machine.
            await until("both are live", both_are_live)
            await asyncio.to_thread(ingester.kill)
            await until("ffmpeg has ended with its parent", lambda: not processes_in(spool))
            for encoder in encoders:
                if encoder.returncode is None:
                    encoder.kill()
                await encoder.wait()
        await until("both are scored", lambda: scored() == {"studio/one", "studio/two"})
        announced = await asyncio.to_thread(events)
    finally:
        for process in (ingester, worker):
            await asyncio.to_thread(process.kill)
        for follower in (segments, scores):
            await asyncio.to_thread(follower.close)
    for name in ("studio/one", "studio/two"):
        course = {event.segment_id: event for event in announced if event.stream_id == name}
        assert [event.sequence for event in course.values()] == list(range(len(course)))
        folders = [folder for folder, _ in groupby(Path(event.uri).parent for event in course.values())]
        assert len(folders) == len(set(folders)) >= 2, "each start is an epoch"
    seen = [ingester.log.read_text(), worker.log.read_text(), *statuses, *running, *(str(event) for event in announced)]
    assert "s3cret" not in "\n".join(seen)
