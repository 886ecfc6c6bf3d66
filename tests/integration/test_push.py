"""From encoders to scores: `fvq ingest push`, real RTMP and SRT, a real Kafka and `fvq worker`; and kill -9 in mid-stream."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path

from streams.events import SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from tests.support.media import ffmpeg
from tests.support.processes import FVQ, Worker, fvq
from tests.support.rtmp import run_ffmpeg
from tests.support.servers import KafkaServer, free_ports
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

    def counts() -> list[int]:
        return [sum(event.stream_id == name for event in events()) for name in ("studio/one", "studio/two")]

    def scored() -> set[str]:
        answers = [SegmentScore.from_bytes(value) for value in list(scores.read())]
        return {answer.stream_id for answer in answers if answer.status == "scored"}

    async def until(expected: str, reached: Callable[..., bool]) -> None:
        await asyncio.to_thread(wait_for, expected, reached, 60)

    try:
        for wanted in (1, 2):
            ingester.start()
            await until("it waits", lambda wanted=wanted: ingester.log.read_text().count("studio/two is waiting") >= wanted)
            await until("ffmpeg runs", lambda: bool(processes_in(spool)))
            await asyncio.sleep(0.5)  # ffmpeg runs, and does not say when it listens
            before = await asyncio.to_thread(counts)
            encoders = [await run_ffmpeg(clip, *push) for push in pushes]
            await until("two segments more of each", lambda before=before: min(map(int.__sub__, counts(), before)) >= 2)
            running = arguments_of([ingester.pid, *processes_in(spool)])
            status = await asyncio.to_thread(fvq, "ingest", "status", "--json", **settings)
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
        assert len({Path(event.uri).parent for event in course.values()}) == 2, "each start is an epoch"
    assert {source["state"] for source in json.loads(status.stdout)["sources"]} == {"live"}
    seen = [ingester.log.read_text(), worker.log.read_text(), status.stdout, *running, *(str(event) for event in announced)]
    assert "s3cret" not in "\n".join(seen)
