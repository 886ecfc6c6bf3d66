"""One source that is pushed or pulled: ffmpeg cuts it into the spool, and the HLS code announces what appears there.

Each start of ffmpeg is an epoch. An encoder that leaves, hangs or sends what is no video ends an epoch, and never the source.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import signal
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from streams.ingest import metrics
from streams.ingest.base import Services, Status, Stream
from streams.ingest.hls.rendition import Rendition
from streams.ingest.push.address import PushAddress, script_of
from streams.ingest.push.rtmp import Listener, Publication, PublishError, RtmpServers
from streams.ingest.push.spool import PLAYLIST, Growth, SourceSpool, SpoolLimits, growth_of
from streams.ingest.states import SourceState, State
from streams.media import ffmpeg_live
from streams.media.ffmpeg import ChildLimits, Finished
from streams.media.ffmpeg_live import LiveFfmpeg
from streams.media.read import Answer
from streams.text import printable

log = logging.getLogger(__name__)

SEGMENT_SECONDS = 2
"""Length of a segment, at least: it begins with a key frame."""

LONG_SECONDS = 4.0
"""Target duration from which the operator is told that the encoder's key frames are far apart."""

MOST_LISTED = 10_000
"""Segments of a playlist at most."""

LOOK_SECONDS = 0.5
"""Between two looks into the spool."""

SWEEP_SECONDS = 10.0
"""Between two removals of what is old."""

VIDEO_CODECS = "h264,hevc,mpeg2video"
SOUND_CODECS = "aac,aac_latm,mp2,mp2float,mp3,mp3float,ac3,eac3,opus"
"""Decoders that ffmpeg may use to learn what a stream is. Sound is left out, and is looked at all the same."""

FLV_ANALYSIS = "500000"
"""Microseconds of what an encoder pushes that ffmpeg looks at before it cuts: by default 5 s of an FLV, by which all dates would
be late. It has pictures alone, and says all in its first message."""

LISTENER_PAUSE = 5.0
"""The longest pause before a listener is there again: an encoder that comes back must find its port open."""


@dataclass(frozen=True)
class Patience:
    """Seconds. silent: without new data from an encoder that is connected. first: until the first picture; it waits for a key
    frame. end: for ffmpeg to finish when it is told to. pause, longest: before the next try after one without a segment."""

    silent: float = 10.0
    first: float = 30.0
    end: float = 5.0
    pause: float = 1.0
    longest: float = 30.0


@dataclass(frozen=True)
class PushMeans:
    """What the sources of a process share. spool: the folder of all. limits: of one source there. child: of one ffmpeg."""

    spool: Path
    servers: RtmpServers
    limits: SpoolLimits
    child: ChildLimits
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class PushPlan:
    """What the operator wants of a source. stream: its name, labels and clock."""

    stream: Stream
    address: PushAddress
    means: PushMeans = field(repr=False)

    def source(self, services: Services) -> PushSource:
        """The source that follows this plan."""
        return PushSource(self, services)


Feed = Callable[[LiveFfmpeg], Coroutine[Any, Any, None]]
"""Gives ffmpeg its input, and ends when that has ended. Raises `PublishError` where the operator should know why."""


class PushSource:
    """Follows one source until cancelled."""

    def __init__(self, plan: PushPlan, services: Services) -> None:
        self._plan, self._services = plan, services
        self._address, self._means = plan.address, plan.means
        self._spool = SourceSpool(plan.means.spool, plan.stream.stream_id)
        self._epoch: Path | None = None
        self._goodbye = self._told_of_length = False
        self._name = printable(plan.stream.stream_id)
        stream = replace(plan.stream, from_start=True)  # everything in the spool is new
        self._rendition = Rendition(stream, (plan.address.shown,), replace(services, read=self._read))

    def statuses(self) -> Sequence[Status]:
        """What is known of it."""
        return [self._rendition.status]

    async def run(self) -> None:
        """Follow until cancelled."""
        await self._catch_up()
        patience = self._means.patience
        longest = LISTENER_PAUSE if self._address.listens else patience.longest
        pause = patience.pause
        while True:
            announced = self._rendition.status.announced
            try:
                if self._address.listens and self._address.scheme == "rtmp":
                    place, name = self._address.place, self._address.name
                    async with self._means.servers.listen(place, name) as listener:
                        await self._take_encoders(listener)
                else:
                    await self._call()
            except OSError as error:
                self._fail(f"{self._address.shown}: {error.strerror or error}")
            pause = patience.pause if self._rendition.status.announced > announced else pause
            await self._services.times.sleep(pause)
            pause = min(2 * pause, longest)

    async def _catch_up(self) -> None:
        """Announce what an earlier process cut, and had no time to announce."""
        await asyncio.to_thread(self._spool.sweep, self._means.limits.keep, None)
        epochs = await asyncio.to_thread(self._spool.epochs)
        known = self._rendition.status.position.number is not None
        if known and epochs and (await asyncio.to_thread(growth_of, epochs[-1])).has_playlist:
            self._epoch = epochs[-1]
            await self._rendition.load()

    async def _take_encoders(self, listener: Listener) -> None:
        """Take one encoder after the other, for ever. Raises OSError where the spool cannot be written."""
        self._show("waiting", "for an encoder to connect")
        while True:
            publication = await self._accepted(listener)
            if not await self._has_room():
                publication.close()
                await self._services.times.sleep(self._means.patience.pause)
                continue
            self._show("starting", "an encoder has connected")
            before = self._rendition.status.announced
            await self._cut(
                ["-codec_whitelist", VIDEO_CODECS, "-analyzeduration", FLV_ANALYSIS, "-f", "flv"],
                (),
                partial(_feed, publication, self._means.patience.silent),
                publication,
            )
            if self._rendition.status.state in ("live", "stale"):
                self._show("waiting", "for an encoder to connect again: the last one left without saying that the stream ends")
            if self._rendition.status.announced == before:
                await self._services.times.sleep(self._means.patience.pause)

    async def _accepted(self, listener: Listener) -> Publication:
        """The next encoder. Meanwhile what is old is removed."""
        while True:
            try:
                async with asyncio.timeout(SWEEP_SECONDS):
                    return await listener.accept()
            except TimeoutError:
                await asyncio.to_thread(self._spool.sweep, self._means.limits.keep, None)

    async def _call(self) -> None:
        """Have ffmpeg connect to the address, or listen on it, once."""
        if not await self._has_room():
            return
        if self._address.listens:
            status = self._rendition.status
            before = f"; the last one: {status.reason}" if status.state == "failing" else ""
            self._show("waiting", f"for an encoder to connect{before}")
        elif self._rendition.status.state in ("live", "stale"):
            self._show("starting", "the connection has ended, and is made again")
        script = script_of(self._address, self._means.patience.silent)

        async def feed(ffmpeg: LiveFfmpeg) -> None:
            await ffmpeg.write(script)
            ffmpeg.end_input()
            await asyncio.Event().wait()  # what it reads from now on is its own affair

        formats = "mpegts" if self._address.scheme == "srt" else "flv,live_flv"
        protocols = {"srt": ("srt", "udp"), "rtmp": ("rtmp", "tcp"), "rtmps": ("rtmps", "tls", "tcp")}[self._address.scheme]
        allowed = ["-format_whitelist", f"concat,{formats}", "-codec_whitelist", f"{VIDEO_CODECS},{SOUND_CODECS}"]
        await self._cut([*allowed, "-safe", "0", "-f", "concat"], protocols, feed)

    async def _cut(
        self, input_options: Sequence[str], protocols: Sequence[str], feed: Feed, publication: Publication | None = None
    ) -> None:
        """Run ffmpeg once, and announce what it cuts. publication: what it is fed with, which may say that the stream has ended.

        Raises OSError where ffmpeg cannot be started.
        """
        self._goodbye = False
        epoch = self._epoch = await asyncio.to_thread(self._spool.new_epoch)
        announced = self._rendition.status.announced
        ffmpeg = await ffmpeg_live.start(
            input_options, self._output(epoch), protocols=protocols, limits=self._means.child, folder=epoch
        )
        feeding, ending = asyncio.create_task(feed(ffmpeg)), asyncio.create_task(ffmpeg.wait())
        try:
            reason = await self._watch(epoch, feeding, ending)
            if not ending.done():
                ffmpeg.finish()
                await asyncio.wait({ending}, timeout=self._means.patience.end)
        finally:
            feeding.cancel()
            await ffmpeg.kill()
            await asyncio.gather(feeding, return_exceptions=True)
        finished = await ending
        self._goodbye = publication is not None and publication.goodbye
        await self._look(epoch)
        if not reason and not feeding.cancelled() and isinstance(error := feeding.exception(), PublishError):
            reason = str(error)
        if reason or finished.code != 0 or self._rendition.status.announced == announced:
            self._fail(reason or self._cause(finished))

    async def _watch(self, epoch: Path, feeding: asyncio.Task[None], ending: asyncio.Task[Finished]) -> str:
        """Announce what appears, until ffmpeg has ended: ""; or until it should be ended: why."""
        monotonic, patience = self._services.times.monotonic, self._means.patience
        began = grown = swept = monotonic()
        waits = self._address.listens and self._address.scheme == "srt"  # and nobody knows whether an encoder has connected
        size = 0
        while True:
            await asyncio.wait({ending, feeding}, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                await asyncio.wait({ending}, timeout=patience.end)
                return "" if ending.done() else "ffmpeg does not end, though its input has"
            if ending.done():
                return ""
            growth = await self._look(epoch)
            now = monotonic()
            if growth.size != size:
                size, grown = growth.size, now
            if size and now - grown > patience.silent + patience.end:
                return f"no data for {now - grown:.0f} s, though the connection is open"
            if not size and not waits and now - began > patience.first:
                return f"no video within {now - began:.0f} s"
            if now - swept > SWEEP_SECONDS:
                swept = now
                if too_much := await asyncio.to_thread(self._clean, epoch):
                    return too_much

    async def _look(self, epoch: Path) -> Growth:
        """Announce what is new in an epoch's playlist, if it is there; returns what is in its folder."""
        growth = await asyncio.to_thread(growth_of, epoch)
        if growth.has_playlist:
            await self._rendition.load()
            target = self._rendition.status.target
            if target > LONG_SECONDS and not self._told_of_length:
                self._told_of_length = True
                log.warning(
                    "%s: its key frames are far apart, so its segments have up to %g s, and its scores come as late: set the "
                    "encoder to a key frame every %d s", self._name, target, SEGMENT_SECONDS,
                )  # fmt: skip
        return growth

    async def _has_room(self) -> bool:
        """Whether another epoch may begin: an encoder that connects again and again fills the disk, however short each one is."""
        too_much = await asyncio.to_thread(self._clean, None)
        if too_much:
            self._fail(too_much)
        return not too_much

    def _clean(self, epoch: Path | None) -> str:
        """Remove what is old, but for the epoch that is in use; returns what is wrong where too much is left, else ""."""
        limits = self._means.limits
        self._spool.sweep(limits.keep, epoch)
        if self._spool.size() <= limits.most:
            return ""
        return f"its segments take more than {limits.most >> 20} MiB of the disk (FVQ_PUSH_MAX_MB): lower the encoder's bit rate"

    async def _read(self, _: str, seconds: float) -> Answer:
        """The playlist of the present epoch, which is complete when the encoder has said so."""
        assert self._epoch is not None
        answer = await self._services.read((self._epoch / PLAYLIST).resolve().as_uri(), seconds)
        return replace(answer, body=answer.body + b"#EXT-X-ENDLIST\n") if self._goodbye else answer

    def _output(self, epoch: Path) -> list[str]:
        """ffmpeg's arguments after the input: pictures alone, copied; no mark at the playlist's end, which would not tell why."""
        listed = min(max(math.ceil(self._means.limits.keep / SEGMENT_SECONDS), 5), MOST_LISTED)
        return [
            "-map", "0:v:0", "-c", "copy", "-f", "hls", "-hls_time", str(SEGMENT_SECONDS), "-hls_list_size", str(listed),
            "-hls_flags", "program_date_time+temp_file+delete_segments+omit_endlist", "-flush_packets", "1",
            "-start_number", epoch.name.lstrip("0"), "-hls_segment_filename", "%d.ts", PLAYLIST,
        ]  # fmt: skip

    def _cause(self, finished: Finished) -> str:
        """Why ffmpeg has ended, without what may not be shown."""
        if finished.code == -signal.SIGXFSZ:
            return (
                f"a segment of more than {self._means.child.output >> 20} MiB: the encoder sends no key frames, or too many bits"
            )
        said = finished.stderr.decode(errors="replace").strip()
        if not said:
            return "the connection has ended"
        if "matches no streams" in said:
            return "there are no pictures in it"
        opening = re.search("Error opening input: (.+)", said)
        # What is sound may be in a codec that is not allowed; that is no reason to end.
        lines = [line for line in said.splitlines() if "not on whitelist" not in line] or said.splitlines()
        text = opening[1] if opening else re.sub(r"^(\[[^]]* @ 0x[0-9a-f]+\] )+", "", lines[0])
        for secret in self._address.secrets:
            text = text.replace(secret, "...")
        return printable(re.sub(r"(?i)\b(rtmps?|srt)://\S+", self._address.shown, text))[:300]

    def _fail(self, reason: str) -> None:
        """Note a failure, after which the source is run again."""
        metrics.RESTARTS_OF_SOURCES.labels(self._name).inc()
        self._show("failing", reason)

    def _show(self, state: State, reason: str) -> None:
        """Set and report the state, and log it where it is another."""
        status = self._rendition.status
        changed, status.state, status.reason = (state, reason) != (status.state, status.reason), state, reason
        if changed:
            log.log(logging.WARNING if state == "failing" else logging.INFO, "%s is %s: %s", self._name, state, reason)
        kind = "encoder" if state == "failing" else ""
        self._services.report(self._plan.stream, SourceState(state, self._services.times.now(), kind, reason))


async def _feed(publication: Publication, seconds: float, ffmpeg: LiveFfmpeg) -> None:
    """Give ffmpeg what an encoder pushes, until one of them ends. Raises `PublishError`. seconds: without a picture, at most."""
    try:
        async for data in publication.flv(seconds):
            await ffmpeg.write(data)
    except OSError:
        pass  # ffmpeg has ended, and says why
    finally:
        publication.close()
        ffmpeg.end_input()
