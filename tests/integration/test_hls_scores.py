"""From an HLS origin to scores: `fvq ingest hls`, a real Kafka and `fvq worker`, with the forms in which segments come.

Four sources: MPEG-TS with a discontinuity, AES-128 with and without a vector, fragmented MP4, and byte ranges of one file. The
same segments are also announced as plain files of the same origin: each must have the same score.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from streams.events import DEAD_LETTER_TOPIC, SCORES_TOPIC, SEGMENTS_TOPIC, SegmentEvent, SegmentScore
from tests.support.media import ffmpeg, make_clip
from tests.support.origin import Origin, Scripted
from tests.support.processes import FVQ, Worker, fvq
from tests.support.servers import KafkaServer
from tests.support.topics import Follower, produce
from tests.support.waiting import holds_within

KEY, VECTOR = bytes(range(16)), bytes(range(100, 116))
FIRST = 7
"""Media sequence number of the first segment of each playlist."""
SAME = 0.05
"""Points by which the scores of the same pictures may differ: the model's sums depend on what else is in a batch."""


@dataclass(frozen=True)
class Media:
    """Segments of one second. good, bad: MPEG-TS of a sharp and of a badly encoded clip, both from time zero on. init,
    fragments: the sharp clip as fragmented MP4."""

    good: list[bytes]
    bad: list[bytes]
    init: bytes
    fragments: list[bytes]


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    folder = tmp_path_factory.mktemp("media")
    keys = ("-pix_fmt", "yuv420p", "-g", "25", "-keyint_min", "25", "-sc_threshold", "0")
    good = make_clip(folder / "good.mp4", 640, 360, 2, kind="face", options=("-crf", "18", *keys))
    bad = make_clip(folder / "bad.mp4", 640, 360, 2, kind="face", options=("-crf", "44", *keys))

    def cut(clip: Path, form: str) -> list[bytes]:
        target = folder / f"{clip.stem}-{form}"
        target.mkdir()
        hls = ("-f", "hls", "-hls_time", "1", "-hls_list_size", "0", "-hls_segment_type", form)
        ffmpeg("-i", clip, "-c", "copy", *hls, "-hls_segment_filename", target / "%d.part", target / "list.m3u8")
        return [path.read_bytes() for path in sorted(target.glob("*.part"))]

    fragments = cut(good, "fmp4")
    return Media(cut(good, "mpegts"), cut(bad, "mpegts"), (folder / "good-fmp4/init.mp4").read_bytes(), fragments)


def encrypted(segment: bytes, vector: bytes) -> bytes:
    """A segment as RFC 8216, section 4.3.2.4, says: AES-128 in CBC mode, padded by PKCS #7."""
    padder, encryptor = PKCS7(128).padder(), Cipher(algorithms.AES(KEY), modes.CBC(vector)).encryptor()
    return encryptor.update(padder.update(segment) + padder.finalize()) + encryptor.finalize()


def playlist(*lines: str, ended: bool = True) -> str:
    head = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{FIRST}"]
    return "\n".join([*head, *lines, *(["#EXT-X-ENDLIST"] if ended else [])]) + "\n"


def with_ranges(data: bytes, folder: Path) -> Scripted:
    """An answer that honours the header `Range`."""
    path = folder / "all.mp4"
    path.write_bytes(data)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.FileResponse(path)

    return answer


def serve(origin: Origin, media: Media, folder: Path) -> dict[str, list[str]]:
    """Script the origin; returns the plain address of each segment of each stream."""
    plain: dict[str, list[str]] = {"ts": [], "aes": [], "fmp4": [], "ranges": []}

    def add(path: str, data: Scripted) -> str:
        origin.script(path, data)
        return origin.url(path)

    segments = [*media.good, *media.bad]
    for number, segment in enumerate(segments):
        plain["ts"].append(add(f"/ts/{number}.ts", segment))
    listed = [line for number in range(4) for line in ("#EXTINF:1.0,", f"{number}.ts")]
    listed.insert(4, "#EXT-X-DISCONTINUITY")
    # A live source: one segment, then what was added; it ends with its last segment.
    grown = playlist(*listed[:2], ended=False), playlist(*listed[:7], ended=False), playlist(*listed)
    origin.script("/ts/live.m3u8", *grown)

    vectors = [VECTOR, (FIRST + 1).to_bytes(16, "big"), (FIRST + 2).to_bytes(16, "big")]
    for number, vector in enumerate(vectors):
        add(f"/aes/{number}.ts", encrypted(segments[number], vector))
    plain["aes"] = plain["ts"][:3]
    add("/aes/key", KEY)
    method = '#EXT-X-KEY:METHOD=AES-128,URI="key"'
    explicit, implicit = (f"{method},IV=0x{VECTOR.hex()}", "#EXTINF:1.0,", "0.ts"), (method, "#EXTINF:1.0,", "1.ts")
    origin.script("/aes/live.m3u8", playlist(*explicit, *implicit, "#EXTINF:1.0,", "2.ts"))

    add("/fmp4/init.mp4", media.init)
    for number, fragment in enumerate(media.fragments):
        add(f"/fmp4/{number}.m4s", fragment)
        plain["fmp4"].append(add(f"/fmp4/{number}.mp4", media.init + fragment))
    parts = [line for number in range(len(media.fragments)) for line in ("#EXTINF:1.0,", f"{number}.m4s")]
    origin.script("/fmp4/live.m3u8", playlist('#EXT-X-MAP:URI="init.mp4"', *parts))

    first, second = media.fragments
    add("/ranges/all.mp4", with_ranges(media.init + first + second, folder))
    plain["ranges"] = plain["fmp4"]
    ranges = f"#EXT-X-BYTERANGE:{len(first)}@{len(media.init)}", f"#EXT-X-BYTERANGE:{len(second)}"  # the second goes on
    parts = [line for byte_range in ranges for line in ("#EXTINF:1.0,", byte_range, "all.mp4")]
    origin.script("/ranges/live.m3u8", playlist(f'#EXT-X-MAP:URI="all.mp4",BYTERANGE="{len(media.init)}@0"', *parts))
    return plain


def plainly(addresses: list[str]) -> list[SegmentEvent]:
    """Events of whole, unencrypted files."""
    start = datetime.now(UTC) - timedelta(seconds=len(addresses))
    return [
        SegmentEvent(
            stream_id="plain", segment_id=f"plain/{number}", sequence=number, uri=address,
            start=start + timedelta(seconds=number), duration=1.0,
        )
        for number, address in enumerate(addresses)
    ]  # fmt: skip


@pytest.mark.timeout(900)
async def test_each_segment_of_each_form_has_one_score_and_it_is_that_of_the_plain_file(
    kafka: KafkaServer, media: Media, tmp_path: Path
) -> None:
    assert (len(media.good), len(media.bad), len(media.fragments)) == (2, 2, 2)
    await asyncio.to_thread(fvq, "topics", "create", "--partitions", "1", FVQ_BROKER=kafka.broker)
    settings = {"FVQ_BROKER": kafka.broker, "FVQ_FETCH_PRIVATE": "true"}
    # Without a live window: on a busy machine a worker takes so long to start that segments would be skipped as too old.
    scorer = Worker(
        "worker", tmp_path, FVQ_SAMPLER_WORKERS="1", FVQ_LIVE_WINDOW="off", FVQ_ALERTS="false", FVQ_HARVEST="false",
        FVQ_GROUP="hls-scores", FVQ_SESSION_TIMEOUT="60", **settings,
    )  # fmt: skip
    async with Origin() as origin:
        plain = serve(origin, media, tmp_path)
        sources = [f"{name}={origin.url(f'/{name}/live.m3u8')}" for name in plain]
        ingester = Worker("ingest", tmp_path, command=[FVQ, "ingest", "hls", "--once", "--from", "start", *sources], **settings)
        addresses = [*plain["ts"], *plain["fmp4"]]
        expected = len(addresses) + sum(map(len, plain.values()))
        follower, letters = [Follower(kafka.broker, topic) for topic in (SCORES_TOPIC, DEAD_LETTER_TOPIC)]
        try:
            scorer.start()
            ingester.start()
            await asyncio.to_thread(produce, kafka.broker, SEGMENTS_TOPIC, plainly(addresses))
            assert await asyncio.to_thread(ingester.process.wait, 180) == 0, ingester.tail()  # type: ignore[union-attr]
            answered = await asyncio.to_thread(holds_within, 180, lambda: len(follower.read()) >= expected)
            assert answered, scorer.tail() + ingester.tail()
            await asyncio.to_thread(scorer.terminate)  # what it had still to send is sent
            scores = [SegmentScore.from_bytes(value) for value in await asyncio.to_thread(follower.read)]
            assert await asyncio.to_thread(letters.read) == []
        finally:
            scorer.kill()
            ingester.kill()
            follower.close()
            letters.close()
    by_stream: dict[str, list[SegmentScore]] = {name: [] for name in ("plain", *plain)}
    for score in scores:
        by_stream[score.stream_id].append(score)
    assert len({score.segment_id for score in scores}) == len(scores) == expected, "each segment has one score"
    assert {score.status for score in scores} == {"scored"}
    known = {address: score.score for address, score in zip(addresses, by_stream["plain"], strict=True)}
    for name, same in plain.items():
        found = by_stream[name]
        assert [score.sequence for score in found] == list(range(len(same)))
        assert [score.score for score in found] == pytest.approx([known[address] for address in same], abs=SAME), name
        assert [bool(score.ended) for score in found] == [False] * (len(same) - 1) + [True], name
    good, bad = [known[address] for address in plain["ts"][:2]], [known[address] for address in plain["ts"][2:]]
    assert min(map(float, good)) > max(map(float, bad)) + 10, "the clip after the discontinuity is the bad one"
