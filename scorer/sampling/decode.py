"""Decoding with PyAV: what a file holds, the times of its frames, and the frames one at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

from av.error import FFmpegError

from scorer.errors import MediaError
from scorer.sampling.audio.track import AudioTrack
from scorer.sampling.bitstream.packets import Packets, shown_pictures
from scorer.sampling.clock import LONGEST_GAP, RunningClock
from scorer.sampling.course import Course, Key, Timed, forget_others
from scorer.sampling.facts import EPSILON, Timeline, timeline_of
from scorer.sampling.keyframes import Keyframes, identity_of, keyframes_of
from scorer.sampling.opening import open_for_decoding, open_media, prepare
from scorer.sampling.orientation import aspect_of
from scorer.sampling.parts import parts_of
from scorer.sampling.rates import USUAL_STEP, Head, can_be, step_of
from scorer.sampling.replay import REPLAYED_FORMATS, Replay
from scorer.sampling.sizes import check_size
from scorer.sampling.sound_parts import demuxed_with_sound
from scorer.sampling.stamps import MEASURED_FORMATS, fine_tick, in_seconds, on_ticks, place_of, seconds_of, shown_at, tells_order
from scorer.sampling.tracks import shown_video
from scorer.sampling.transport import HEAD_BYTES

HEAD_PACKETS = 32
"""Packets that are read to find the first frame's time: with B-frames the first packet may hold a later frame."""

REORDERING = 2.0
"""Seconds that packets are read around a window: packets are in decoding order, so a frame before its end may come later."""

SOUND_BEFORE = 30.0
"""Seconds before a window's start from which on its sound may be stored: a keyframe may be hours before."""

SEEK_BACK = (0.0, 4.0, 16.0, 64.0)
"""Seconds before the wanted start to which a seek goes, tried in turn: in MPEG-TS a seek may miss the keyframe."""


@contextmanager
def open_video(path: Path, references_only: bool = False) -> Iterator[Video]:
    """The file's first video stream, checked and ready to read. Raises `MediaError` where there is none that can be read.

    references_only: of its pictures only those are decoded of which others are made, as far as the decoder can leave out any.
    """
    with open_media(path) as file:
        forget_others(identity_of(file))
        with closing(Video(file, references_only)) as video:
            yield video


class Video:
    """One video stream of an open file. Times are seconds from the first frame, on the running clock (see `clock`)."""

    longest_gap = LONGEST_GAP
    """A longer gap between two frames, s, is a jump of the clock."""

    _replay: Replay | None = None
    """The packets that were read since the file was opened, where they can be read again from memory."""

    def __init__(self, file: BinaryIO, references_only: bool) -> None:
        self._file, self._references_only = file, references_only
        self._parts = parts_of(file)
        self.changes = len(self._parts.video) - 1
        """How often the video goes on in another way, see `parts`."""
        self._containers: list[Any] = []
        self.audio = AudioTrack()
        """The packets of the audio track that were read with those of the last `timeline`."""
        self.is_timed = True
        """Whether its stamps can be true."""
        self._open()
        context = self._stream.codec_context
        self.width, self.height, self.codec = context.width, context.height, context.codec.canonical_name
        self.index, self.container = self._stream.index, self._container.format.name
        stated, coded = self._stream.average_rate, context.framerate
        self._step = step_of(stated) or USUAL_STEP  # between frames whose packets have no time (raw streams), s
        knows_order = tells_order(self.container, context)
        self._knows_order = knows_order or self.container == "mxf"
        self._first, self._has_clock, head = self._first_time()
        # Some MXF has an index, which tells the order.
        self._knows_order = knows_order or (self.container == "mxf" and head.is_reordered)
        self.is_timed = can_be(head, stated, coded)
        if not self.is_timed:
            self._has_clock, self._first = False, 0.0
        if not self._has_clock or not self._knows_order:
            self._references_only = False  # pictures are counted, so none may be left out
            self._stream.codec_context.skip_frame = "DEFAULT"
        if not self._has_clock:
            self._step = step_of(coded) or self._step  # FFmpeg states 25 for every raw stream of H.264 and HEVC
            self._reopen()

    def _open(self) -> None:
        self._skip, self._is_steady = 0, False
        self.audio.restart()
        self._open_part(self._parts.video[0])
        self._decoded_stream = self._stream
        self._tick = fine_tick(self._stream.time_base) if self.changes else self._stream.time_base
        is_kept = not self.changes and self._container.format.name in REPLAYED_FORMATS
        self._replay = Replay(self._read()) if is_kept else None

    def _open_part(self, part: BinaryIO) -> None:
        part.seek(0)
        head = part.read(HEAD_BYTES)
        # Edit lists of a file whose times are wrong would leave out most of it.
        self._container = open_for_decoding(part, ignore_edits=not self.is_timed)
        self._containers.append(self._container)
        try:
            self._stream = self._checked_stream(head)
            self.audio.choose(self._container.streams.audio, self._stream, head)
        except MediaError:
            self.close()
            raise

    def _checked_stream(self, head: bytes) -> Any:
        stream = shown_video(self._container.streams.video, head)
        context = stream.codec_context
        if context is None:
            raise MediaError("the video's codec is not known to this build of FFmpeg; transcode it to H.264", kind="undecodable")
        check_size(context.width, context.height)
        prepare(context)
        context.skip_frame = "NONREF" if self._references_only else "DEFAULT"
        return stream

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width of a pixel divided by its height in the picture that was decoded last, as stated; None where it is not."""
        stream = self._decoded_stream
        # Where the container states no shape, that of the bit stream counts, which may change.
        coded = stream.codec_context.sample_aspect_ratio if self.container in MEASURED_FORMATS else None
        return coded or stream.sample_aspect_ratio

    @property
    def began(self) -> float | None:
        """The first frame's time on the container's clock, s; None where its stamps cannot be true."""
        return self._first if self._has_clock else None

    @property
    def stamping(self) -> tuple[bool, float | None]:
        """`knows_order` and `step` of `VideoFacts`."""
        return (self._knows_order, None) if self._has_clock else (not self._stream.codec_context.has_b_frames, self._step)

    def header_duration(self) -> float | None:
        """Seconds that the container states; None where it states no duration that can be, or the packets have no times.

        A header may promise anything: this is a hint, and no work may be planned by it alone.
        """
        stream, container = self._stream, self._container
        durations = [float(stream.duration * stream.time_base)] if stream.duration and stream.time_base else []
        # The container's duration covers all streams; it is right where the video stream's own is too short.
        durations += [container.duration / 1e6] if container.duration else []
        if not durations or not self._has_clock or self.changes:
            return None
        # Most containers state the end on their own clock, which may count since 1970. A small start is the delay of B-frames.
        from_zero = container.format.name not in MEASURED_FORMATS and self._first > REORDERING
        duration = max(durations) - (self._first if from_zero else 0.0)
        return duration if duration > 0 else None

    def timeline(self, start: float, end: float) -> Timeline:
        """The frames from `start` to `end` seconds, read from packets without decoding."""
        times: list[float] = []
        sizes: list[int] = []
        packets = Packets(self._step)
        self._to_keyframe(start)
        goes_on = False
        for packet, hidden in shown_pictures(self._on_clock()):
            time = len(times) * self._step if (stamp := self._stamp(packet)) is None else stamp
            times.append(time)
            sizes.append(packet.size + hidden)
            if packet.is_keyframe or time >= start - REORDERING:
                packets.add(packet, time, hidden=hidden)
            elif self._is_steady and self.audio.count and time < start - SOUND_BEFORE:
                self.audio.restart()
            if time > end + REORDERING:
                goes_on = True
                break
        return timeline_of(times, sizes, packets, start, end, goes_on)

    def course(self, start: float) -> Course:
        """The frames from the last keyframe at or before `start` on that can be decoded. Damaged packets are skipped, as a player
        does. Raises `MediaError`, also where it gives out a picture that is too large.
        """
        self._to_keyframe(start)
        return Course(self._timed_frames())

    @property
    def key(self) -> Key:
        """Tells the video, and the way in which it is read, from others."""
        return Key(identity_of(self._file), self._references_only, self.longest_gap)

    def close(self) -> None:
        """Free the demuxers and the decoders; the file stays open."""
        while self._containers:
            self._containers.pop().close()

    def _stamp(self, timed: Any) -> float | None:
        """Seconds of a packet or frame, None where it has no time. AVI has decoding times (dts) only."""
        stamp = timed.pts if timed.pts is not None else timed.dts
        return None if stamp is None or not self._has_clock else in_seconds(stamp, self._tick) - self._first

    def _first_time(self) -> tuple[float, bool, Head]:
        """The first frame's time on the stream's clock, s; whether packets have times at all; what the first packets say."""
        own, keys, stamps, reordered = [], [], [], []

        def noted() -> Iterator[Any]:
            for packet in self._demuxed():
                keys.append(packet.is_keyframe)
                reordered.append(packet.pts != packet.dts)
                own.append(seconds_of(packet, packet.dts if packet.dts is not None else packet.pts))
                yield packet

        packets = (packet for packet in self._clock().packets(noted()) if not packet.is_discard)
        for count, packet in enumerate(islice(packets, HEAD_PACKETS + 1)):
            if not count:
                self._first_place = place_of(packet)
            stamps.append(shown_at(packet))
        if not stamps:
            raise MediaError("the file has a video stream but no picture in it; was it cut off?", kind="empty")
        known = [stamp for stamp in stamps if stamp is not None]
        head = Head([stamp for stamp in own if stamp is not None], all(keys), any(reordered))
        return min(known, default=0.0), bool(known), head

    def _to_keyframe(self, start: float) -> None:
        """Seek to a keyframe at or before `start`, or to the beginning of the file."""
        if start <= 0 and self._replay is not None and self._replay.is_complete:
            self._skip, self._is_steady = 0, False
            self._stream.codec_context.flush_buffers()
            return
        keyframes = keyframes_of(self._file, self.longest_gap, self._scan) if start > 0 and self._has_clock else None
        if keyframes is not None:
            # The file's own stamps are ambiguous: count packets instead of seeking.
            self._reopen()
            self._skip = keyframes.packets_before(start + EPSILON)
            return
        has_palette = self._stream.codec_context.pix_fmt == "pal8"  # AVI's is in the file's first packet alone
        # ASF's first stamps after a seek are wrong: opening it again is right.
        is_avi = start <= 0 and self.container == "avi" and not self._knows_order
        # A seek to the first picture would leave out what is heard before it.
        can_seek = self._has_clock and not self.changes and not has_palette and (start > 0 or not self.audio.streams)
        for back in SEEK_BACK if can_seek else ():
            timestamp = int((self._first + max(0.0, start - back)) / self._stream.time_base)
            self._replay = None  # its packets are not those after a seek
            try:
                self._seek(timestamp)
                first, key = None, None
                for packet in self._demuxed():
                    first = first or place_of(packet)
                    if packet.is_keyframe:
                        if is_avi:
                            packet.pts = packet.dts  # as the clock does
                        key = self._stamp(packet)
                        break
                # Where the clock jumps, a seek to the beginning may find a later picture with the same stamp.
                if key is not None and key <= start + EPSILON and (start > 0 or first == self._first_place):
                    self._seek(timestamp)
                    # After a seek FFmpeg's first decoding stamps may be wrong; a file without jumps needs no clock.
                    self._is_steady = start > 0 and self._knows_order
                    return
            except FFmpegError:
                break
            if back > start:
                break
        # Some demuxers cannot seek to the beginning. Opening the file again always works.
        self._reopen()

    def _seek(self, timestamp: int) -> None:
        self.audio.restart()
        self._container.seek(timestamp, stream=self._stream, backward=True)

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _scan(self) -> Keyframes | None:
        """Read the whole file: its keyframes where its clock jumps, else None."""
        self._reopen()
        clock, keyframes = self._clock(), Keyframes([], [])
        for number, packet in enumerate(clock.packets(self._demuxed())):
            stamp = self._stamp(packet)
            if stamp is not None and (packet.is_keyframe or not keyframes.times):
                keyframes.times.append(max(stamp, *keyframes.times[-1:], 0.0))
                keyframes.numbers.append(number)
        return keyframes if (clock.jumped or self.changes) and keyframes.times else None

    def _clock(self) -> RunningClock:
        return RunningClock(round(self._step / self._tick), round(self.longest_gap / self._tick), self._knows_order)

    def _on_clock(self) -> Iterator[Any]:
        """Packets on the running clock."""
        clock, packets = self._clock(), self._demuxed()
        self.running = clock  # of this reading
        if self._is_steady:
            return packets
        packets = clock.packets(packets)
        next(islice(packets, self._skip, self._skip), None)
        clock.guesses.clear()
        return packets

    def _demuxed(self) -> Iterator[Any]:
        """Packets with their own stamps, up to the end or to where the file is cut off."""
        return self._read() if self._replay is None else self._replay.packets()

    def _read(self) -> Iterator[Any]:
        """The same, from the demuxer."""
        for number, part in enumerate(self._parts.video):
            try:
                if number:
                    self._open_part(part)  # the parts before stay open: the clock holds packets of theirs
            except MediaError:
                continue
            packets = demuxed_with_sound(self._container, self._stream, self.audio, self._parts.sound, self._containers)
            yield from packets if self._stream.time_base == self._tick else on_ticks(packets, self._tick)

    def _timed_frames(self) -> Iterator[Timed]:
        time, latest = -self._step, -math.inf
        for frame, is_guessed in self._decoded():
            check_size(frame.width, frame.height)
            stamp = self._stamp(frame)
            # No picture is shown before the one that the decoder gave out before it.
            time = latest = max(latest, time + self._step if stamp is None else stamp)
            aspect = aspect_of(frame, self._decoded_stream.codec_context.name, self.pixel_aspect)
            yield Timed(time, frame, is_guessed, aspect)

    def _decoded(self) -> Iterator[tuple[Any, bool]]:
        context = self._stream.codec_context
        # None at the end of a part and of the file: the decoder still holds frames, and gives them out.
        for packet in chain(self._on_clock(), [None]):
            following = None if packet is None else packet.stream.codec_context
            if following is not context:
                yield from self._decoded_packet(context, None)
                context = following
            if packet is not None:
                self._decoded_stream = packet.stream
                yield from self._decoded_packet(context, packet)

    def _decoded_packet(self, context: Any, packet: Any) -> Iterator[tuple[Any, bool]]:
        try:
            for frame in context.decode(packet):
                yield frame, self.running.guesses.settle(frame, are_all_decoded=not self._references_only)
        except MemoryError:
            raise
        except FFmpegError:
            pass  # a damaged packet is skipped
