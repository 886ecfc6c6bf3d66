"""Sources that real encoders push: what is announced, and what happens when an encoder leaves, hangs or sends no video."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import imageio_ffmpeg
import pytest

from streams.events import SegmentEvent
from streams.ingest.base import SavedPosition, Services, Status, Stream
from streams.ingest.live import Supervisor
from streams.ingest.pages import status_of
from streams.ingest.positions import RenditionKey
from streams.ingest.push.address import parse_address
from streams.ingest.push.rtmp import RtmpServers
from streams.ingest.push.source import Patience, PushMeans, PushPlan
from streams.ingest.push.spool import SourceSpool, SpoolLimits, SpoolReader
from streams.media.ffmpeg import ChildLimits
from tests.support.media import ffmpeg
from tests.support.rtmp import KEY_FRAME, Encoder, run_ffmpeg
from tests.support.servers import free_ports, takes_datagrams

pytestmark = pytest.mark.slow

KEY, PASSPHRASE, STREAM_ID = "s3cret-key", "s3cret-passphrase", "s3cret-stream"
PATIENCE = Patience(silent=30.0, first=60.0, end=30.0, pause=0.2, longest=0.5)
"""Longer than a busy machine stops for: to a source that waits for less, an encoder that goes on is one that hangs."""

HASTE = replace(PATIENCE, silent=5.0)
"""Where an encoder does hang."""


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds with sound and a key frame each second: segments are two seconds long, and ffmpeg makes three a loop of it."""
    path = tmp_path_factory.mktemp("push") / "clip.mp4"
    ffmpeg(
        "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=10", "-f", "lavfi", "-i", "sine", "-t", "2", "-threads", "1",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p", "-c:a", "aac", path,
    )  # fmt: skip
    return path


class Followed:
    """Sources in this process. events: what was announced. positions: what is kept. saved: after how many events, and what."""

    def __init__(self, root: Path, limits: SpoolLimits | None = None, child: ChildLimits | None = None) -> None:
        self.root, self.events, self.positions = root, list[SegmentEvent](), dict[RenditionKey, SavedPosition]()
        self.saved: list[tuple[int, SavedPosition]] = []
        child = child or ChildLimits(512 << 20, 64 << 20)
        self.means = PushMeans(root, RtmpServers(), limits or SpoolLimits(), child, PATIENCE)
        self.start()

    def start(self) -> None:
        services = Services(
            SpoolReader(self.root).read, self.publish, lambda stream: self.positions.get((stream.stream_id, None))
        )
        self.supervisor = Supervisor(services, spread=0)

    async def publish(self, stream: Stream, events: Sequence[SegmentEvent], saved: SavedPosition) -> None:
        self.events += events
        self.positions[stream.stream_id, None] = saved
        self.saved.append((len(self.events), saved))

    async def follow(self, **addresses: str) -> None:
        plans = [PushPlan(Stream(name), parse_address(address), self.means) for name, address in addresses.items()]
        await self.supervisor.follow(plans)

    def status(self, name: str) -> Status:
        return next(status for status in self.supervisor.statuses() if status.stream == name)

    def files(self, name: str) -> list[Path]:
        return [Path(event.uri.removeprefix("file://")) for event in self.events if event.stream_id == name]

    async def until(self, expected: str, reached: Callable[[], bool], seconds: float = 120.0) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not reached():
            assert asyncio.get_running_loop().time() < deadline, f"not within {seconds} s: {expected}"
            await asyncio.sleep(0.05)


@pytest.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    running = Followed(tmp_path / "push")
    yield running
    await running.supervisor.stop()


def children() -> list[str]:
    """What is shown of this process's own children that are ffmpeg."""
    shown = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        with contextlib.suppress(OSError):  # it has ended since
            shown.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
    return [command for command in shown if "hls_time" in command]


async def end(process: asyncio.subprocess.Process, number: int = signal.SIGKILL) -> None:
    if process.returncode is None:
        process.send_signal(number)
        await process.wait()


def check_course(followed: Followed, name: str, epochs: int) -> None:
    """Each segment once, in order, with a sequence that rises by one, a file that is there, and pictures in it."""
    events = [event for event in followed.events if event.stream_id == name]
    # Where the last segment was announced before the encoder's end was known, it is announced again, with the end.
    again = [after.ended and after.segment_id == before.segment_id for before, after in pairwise(events)]
    events = [event for event, follows in zip(events, [*again, False], strict=True) if not follows]
    assert len({event.segment_id for event in events}) == len(events)
    assert [event.sequence for event in events] == list(range(len(events)))
    assert [event.start for event in events] == sorted(event.start for event in events)
    files = followed.files(name)
    assert len({file.parent for file in files}) == epochs
    assert all(file.stat().st_size > 1000 and file.is_relative_to(followed.root) for file in files)


async def test_rtmp_and_srt_are_taken_and_pulled_and_no_secret_is_seen(
    followed: Followed, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rtmp, srt, far_rtmp, far_srt = (free_ports(1) for _ in range(4))
    addresses = {
        "one": f"rtmp://127.0.0.1:{rtmp}/live/{KEY}?mode=listener",
        "two": f"rtmp://127.0.0.1:{rtmp}/live/{KEY}-2?mode=listener",
        "three": f"srt://127.0.0.1:{srt}?mode=listener&passphrase={PASSPHRASE}",
        "four": f"rtmp://127.0.0.1:{far_rtmp}/live/{KEY}-4",
        "five": f"srt://127.0.0.1:{far_srt}?streamid={STREAM_ID}&passphrase={PASSPHRASE}",
        "away": f"srt://127.0.0.1:{free_ports(1)}?streamid={STREAM_ID}",
    }
    encoders = [
        await run_ffmpeg(clip, "-f", "flv", "-listen", "1", f"rtmp://127.0.0.1:{far_rtmp}/live/{KEY}-4"),
        await run_ffmpeg(clip, "-f", "mpegts", f"srt://127.0.0.1:{far_srt}?mode=listener&passphrase={PASSPHRASE}"),
    ]
    await asyncio.sleep(0.5)
    await followed.follow(**addresses)
    await followed.until("all listen", lambda: all(followed.status(name).state == "waiting" for name in ("one", "two", "three")))
    await followed.until("ffmpeg listens", lambda: takes_datagrams(srt))
    encoders += [
        await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/{KEY}"),
        await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/{KEY}-2"),
        await run_ffmpeg(clip, "-f", "mpegts", f"srt://127.0.0.1:{srt}?passphrase={PASSPHRASE}"),
    ]
    try:
        names = list(addresses)[:5]
        await followed.until("two segments of each", lambda: all(len(followed.files(name)) >= 2 for name in names))
        arguments = "\n".join(children())
        status = str(status_of(followed.supervisor.statuses(), 0))
        await followed.until("nobody at the last", lambda: followed.status("away").state == "failing")
    finally:
        for encoder in encoders:
            await end(encoder)
    await followed.supervisor.stop()
    assert children() == []
    for name in names:
        check_course(followed, name, 1)
    events = "".join(event.to_bytes().decode() for event in followed.events)
    folders = str(list(followed.root.rglob("*")))
    saved = str(followed.positions)
    for text in (caplog.text, status, events, folders, arguments, saved):
        assert "s3cret" not in text
    assert f"rtmp://127.0.0.1:{rtmp}/live" in status
    assert "-protocol_whitelist pipe " in arguments
    assert "pipe,srt,udp" in arguments


async def test_an_encoder_that_is_killed_and_comes_back_is_a_new_epoch(followed: Followed, clip: Path) -> None:
    rtmp, srt = free_ports(1), free_ports(1)
    await followed.follow(
        a=f"rtmp://127.0.0.1:{rtmp}/live/{KEY}?mode=listener", b=f"srt://127.0.0.1:{srt}?mode=listener&passphrase={PASSPHRASE}"
    )
    pushes = [
        ("-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/{KEY}"),
        ("-f", "mpegts", f"srt://127.0.0.1:{srt}?passphrase={PASSPHRASE}"),
    ]
    for epoch in (1, 2):
        before = {name: len(followed.files(name)) for name in "ab"}

        def has_more(before: dict[str, int] = before) -> bool:
            return all(len(followed.files(name)) >= before[name] + 1 for name in "ab")

        await followed.until("both listen", lambda: all(followed.status(name).state == "waiting" for name in "ab"))
        await followed.until("ffmpeg listens", lambda: takes_datagrams(srt))
        encoders = [await run_ffmpeg(clip, *push) for push in pushes]
        try:
            await followed.until("a segment more", has_more)
        finally:
            for encoder in encoders:
                await end(encoder)
        await followed.until("both wait", lambda: all(followed.status(name).state == "waiting" for name in "ab"))
        assert followed.status("a").counts["restarts"] == epoch - 1
    for name in "ab":
        check_course(followed, name, 2)
    assert not any(event.ended for event in followed.events), "an encoder that was cut off may come again"
    await followed.supervisor.stop()


async def test_a_goodbye_ends_the_stream_and_it_may_begin_again(followed: Followed, clip: Path) -> None:
    port = free_ports(1)
    await followed.follow(a=f"rtmp://127.0.0.1:{port}/live/{KEY}?mode=listener")
    await followed.until("it waits", lambda: followed.status("a").state == "waiting")

    for count in (1, 2):

        def has_ended(count: int = count) -> bool:
            return sum(event.ended for event in followed.events) == count and followed.status("a").state == "ended"

        encoder = await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{port}/live/{KEY}", seconds=3)
        await encoder.wait()
        await followed.until("it has ended", has_ended)
        ended = [event.ended for event in followed.events]
        assert ended.count(True) == count
        assert ended[-1]
    check_course(followed, "a", 2)


async def test_a_hanging_encoder_and_garbage_end_an_epoch_and_not_the_source(followed: Followed, clip: Path) -> None:
    followed.means = replace(followed.means, patience=HASTE)
    rtmp, srt, far = free_ports(1), free_ports(1), free_ports(1)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", far)  # takes connections, and says nothing
    await followed.follow(
        a=f"rtmp://127.0.0.1:{rtmp}/live/{KEY}?mode=listener",
        b=f"srt://127.0.0.1:{srt}?mode=listener&passphrase={PASSPHRASE}",
        c=f"rtmp://127.0.0.1:{far}/live/{KEY}",
    )
    await followed.until("both listen", lambda: followed.status("a").state == "waiting" and takes_datagrams(srt))
    hanging = [
        await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/{KEY}"),
        await run_ffmpeg(clip, "-f", "mpegts", f"srt://127.0.0.1:{srt}?passphrase={PASSPHRASE}"),
    ]
    try:
        await followed.until("both are live", lambda: all(len(followed.files(name)) >= 1 for name in "ab"))
        for encoder in hanging:
            encoder.send_signal(signal.SIGSTOP)
        await followed.until("it hangs", lambda: "no picture for 5 s" in followed.status("a").reason)
        await followed.until("it hangs", lambda: followed.status("b").state == "waiting")
        await followed.until("nothing comes", lambda: followed.status("c").state == "failing")
    finally:
        for encoder in hanging:
            await end(encoder)
    garbage = await Encoder.connect(rtmp)
    assert await garbage.publish("live", KEY) == "NetStream.Publish.Start"
    await garbage.picture(b"\x17\x00" + KEY_FRAME * 1000)
    await asyncio.sleep(0.2)
    garbage.close()
    failed = lambda: followed.status("a").state == "failing" and "no picture for" not in followed.status("a").reason  # noqa: E731
    await followed.until("garbage is no video", failed)
    reader, writer = await asyncio.open_connection("127.0.0.1", rtmp)
    writer.write(b"GET / HTTP/1.1\r\n\r\n" * 200)
    assert await reader.read() == b""
    count = len(followed.files("a"))
    encoder = await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{rtmp}/live/{KEY}")
    try:
        await followed.until("it is live again", lambda: len(followed.files("a")) >= count + 1)
    finally:
        await end(encoder)
    server.close()


async def test_the_next_process_announces_what_the_last_one_left_and_removes_what_is_old(tmp_path: Path, clip: Path) -> None:
    port = free_ports(1)
    address = f"rtmp://127.0.0.1:{port}/live/{KEY}?mode=listener"
    first = Followed(tmp_path / "push", SpoolLimits(keep=600))
    await first.follow(a=address)
    await first.until("it waits", lambda: first.status("a").state == "waiting")
    encoder = await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{port}/live/{KEY}")
    try:
        await first.until("it announces twice", lambda: bool(first.saved) and len(first.events) > first.saved[0][0])
    finally:
        await end(encoder, signal.SIGINT)  # it says goodbye
    await first.until("it has ended", lambda: first.status("a").state == "ended")
    await first.supervisor.stop()
    check_course(first, "a", 1)
    announced, saved = first.saved[0]
    # The last one may be announced again, with the end.
    left = list(dict.fromkeys(event.segment_id for event in first.events[announced:]))
    assert left
    second = Followed(tmp_path / "push", SpoolLimits(keep=600))
    second.positions["a", None] = saved  # as if the first process had been killed then
    await second.follow(a=address)
    await second.until("what was left", lambda: len(second.events) == len(left))
    await second.supervisor.stop()
    assert [event.segment_id for event in second.events] == left
    third = Followed(tmp_path / "push", SpoolLimits(keep=0.1))
    await third.follow(a=address)
    await third.until("old segments are gone", lambda: not list((tmp_path / "push").rglob("*.ts")))
    await third.supervisor.stop()


async def test_a_spool_that_grows_too_large_is_said(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.ingest.push.source.SWEEP_SECONDS", 0.5)
    port = free_ports(1)
    followed = Followed(tmp_path / "push", SpoolLimits(most=20_000))
    await followed.follow(a=f"rtmp://127.0.0.1:{port}/live/{KEY}?mode=listener")
    await followed.until("it waits", lambda: followed.status("a").state == "waiting")
    encoder = await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{port}/live/{KEY}")
    try:
        await followed.until("it is said", lambda: "FVQ_PUSH_MAX_MB" in followed.status("a").reason)
    finally:
        await end(encoder)
        await followed.supervisor.stop()


async def test_with_a_full_spool_nobody_is_taken_until_what_is_old_is_gone(tmp_path: Path, clip: Path) -> None:
    port = free_ports(1)
    push = f"rtmp://127.0.0.1:{port}/live/{KEY}"
    followed = Followed(tmp_path / "push", SpoolLimits(most=200_000))
    for name in ("a", "b"):
        (SourceSpool(followed.root, name).new_epoch() / "1.ts").write_bytes(b"x" * 200_001)
    await followed.follow(a=f"{push}?mode=listener", b=f"rtmp://127.0.0.1:{free_ports(1)}/live/{KEY}")
    await followed.until("it waits", lambda: followed.status("a").state == "waiting")
    for _ in range(2):
        refused = await Encoder.connect(port)
        await refused.publish("live", KEY)
        assert await refused.is_closed()
    for name in ("a", "b"):
        assert "FVQ_PUSH_MAX_MB" in followed.status(name).reason
        assert len(SourceSpool(followed.root, name).epochs()) == 1
    (epoch,) = SourceSpool(followed.root, "a").epochs()
    os.utime(epoch, (0, 0))
    encoder = await run_ffmpeg(clip, "-f", "flv", push)
    try:
        await followed.until("it is live", lambda: len(followed.files("a")) == 1)
    finally:
        await end(encoder)
        await followed.supervisor.stop()
    assert not epoch.exists()


async def test_a_segment_that_grows_too_large_is_said(tmp_path: Path, clip: Path) -> None:
    port = free_ports(1)
    followed = Followed(tmp_path / "push", child=ChildLimits(512 << 20, 10_000))
    await followed.follow(a=f"rtmp://127.0.0.1:{port}/live/{KEY}?mode=listener")
    await followed.until("it waits", lambda: followed.status("a").state == "waiting")
    encoder = await run_ffmpeg(clip, "-f", "flv", f"rtmp://127.0.0.1:{port}/live/{KEY}")
    try:
        await followed.until("it is said", lambda: "the encoder sends no key frames" in followed.status("a").reason)
    finally:
        await end(encoder)
        await followed.supervisor.stop()


async def test_a_port_that_is_taken_is_said_and_tried_again(followed: Followed) -> None:
    port = free_ports(1)
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", port)
    await followed.follow(a=f"rtmp://127.0.0.1:{port}/live/{KEY}?mode=listener")
    await followed.until("it is taken", lambda: "in use" in followed.status("a").reason)
    server.close()
    await server.wait_closed()
    await followed.until("it listens", lambda: followed.status("a").state == "waiting")


def test_the_ffmpeg_of_the_tests_speaks_both_protocols() -> None:
    said = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-protocols"], capture_output=True, text=True).stdout
    assert {"rtmp", "srt"} <= set(said.split())
