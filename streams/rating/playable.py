"""Clips as every browser plays them: MP4 with H.264 4:2:0, made by ffmpeg and kept in a folder.

A clip that is H.264 already is copied into MP4, unless it is interlaced: browsers show its combing. Any other clip is encoded so
finely that no loss is visible. The video is the one that is scored. Sound and metadata are left out: raters judge pictures, and
a title may name the stream.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from scorer.sampling import VideoFacts
from streams.errors import MediaError
from streams.media import ffmpeg
from streams.queue.clips import check_clip

CRF = "12"
"""Quality of x264. At about 17 and below, people see no difference from the original."""

MAX_SECONDS = 120
"""How much of a clip is shown. Segments are a few seconds long."""

WORK = "work-"
"""How the names of the temporary folders begin."""

OUTPUT = [
    "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1", "-t", str(MAX_SECONDS),
    "-avoid_negative_ts", "make_zero", "-movflags", "+faststart", "-f", "mp4",
]  # fmt: skip
COPY = ["-c:v", "copy"]
ENCODE = [
    "-vf", "bwdif=mode=send_frame:deint=interlaced,pad=ceil(iw/2)*2:ceil(ih/2)*2",
    "-c:v", "libx264", "-preset", "veryfast", "-crf", CRF, "-pix_fmt", "yuv420p",
    "-fps_mode", "passthrough",
]  # fmt: skip
PLAYABLE = r"Stream #0:{}\b.*: Video: h264 .*?, yuvj?420p\b(?!\([^)]*(top|bottom) )"
"""In ffmpeg's description of a clip: the stream of that number is a video that browsers play as it is."""


class PlayableClips:
    """The MP4s in a folder, named by example id; each is made when it is first asked for.

    read: returns a clip's bytes for its address. prober: `scorer.sampling.probe`, in a child process where clips come from
    outside. timeout: seconds that one run of ffmpeg may take. memory_mb: MiB that
    ffmpeg may allocate. max_mb: MiB, the largest size of a clip and of its MP4.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[str], bytes],
        prober: Callable[[Path], VideoFacts] | None = None,
        timeout: float = 60.0,
        memory_mb: int = 2048,
        max_mb: int = 256,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._read = read
        self._prober = prober or _probe
        self._timeout = timeout
        self._limits = ffmpeg.ChildLimits(memory_mb * 2**20, max_mb * 2**20)
        # Only one clip is made at a time: a rater waits for one clip, and this machine may be scoring streams as well.
        self._turn = threading.Lock()
        self._queue = asyncio.Lock()

    def get(self, example_id: str, clip_uri: str) -> Path:
        """A clip's MP4. Raises `MediaError` where the clip is gone, has changed, or cannot be decoded; `OSError`."""
        target = self._target(example_id)
        with self._turn:
            if not target.exists():
                self._make(example_id, clip_uri, target)
        return target

    async def when_made(self, example_id: str, clip_uri: str) -> Path:
        """The same for a server: those who wait keep no thread, which pages and votes need, also where the store hangs."""
        target = self._target(example_id)
        if target.exists():
            return target
        async with self._queue:
            return await asyncio.to_thread(self.get, example_id, clip_uri)

    def forget(self, example_ids: Iterable[str]) -> None:
        """Delete the MP4s of these examples."""
        for example_id in example_ids:
            self._target(example_id).unlink(missing_ok=True)

    def keep_only(self, example_ids: Iterable[str]) -> None:
        """Delete the MP4s of all other examples, and temporary folders that a killed process left behind."""
        names = {self._target(example_id).name for example_id in example_ids}
        for path in self._folder.iterdir():
            if path.suffix == ".mp4" and path.name not in names:
                path.unlink(missing_ok=True)
            elif path.name.startswith(WORK):
                with suppress(FileNotFoundError):  # its clip is ready meanwhile
                    if time.time() - path.stat().st_mtime > 10 * self._timeout:
                        shutil.rmtree(path, ignore_errors=True)

    def _target(self, example_id: str) -> Path:
        # The id becomes a file name: only a SHA-256 in hexadecimal, so that it cannot lead out of the folder.
        if not re.fullmatch(r"[0-9a-f]{64}", example_id):
            raise MediaError(f"{example_id!r} is no example id", kind="refused")
        return self._folder / f"{example_id}.mp4"

    def _make(self, example_id: str, clip_uri: str, target: Path) -> None:
        clip = self._checked_clip(example_id, clip_uri)
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=WORK) as work:
            source, mp4 = Path(work) / "source", Path(work) / "made.mp4"
            source.write_bytes(clip)
            try:
                facts = self._prober(source)
            except MediaError as error:
                raise MediaError(f"it cannot be made playable: {error.reason[:200]}", kind=error.kind) from None
            if facts.changes:
                raise MediaError("it cannot be made playable: its video goes on in another stream or with another codec")
            track = ["-map", f"0:{facts.index}"]
            is_playable = re.search(PLAYABLE.format(facts.index).encode(), self._ffmpeg(source, []).stderr)
            if not (is_playable and self._converted(source, [*track, *COPY], mp4) is None):
                reason = self._converted(source, [*track, *ENCODE], mp4)
                if reason is not None:
                    raise MediaError(f"it cannot be made playable: {reason[:200]}")
            os.replace(mp4, target)

    def _checked_clip(self, example_id: str, clip_uri: str) -> bytes:
        clip = self._read(clip_uri)
        if len(clip) > self._limits.output:
            raise MediaError(f"the clip has {len(clip) >> 20} MiB, more than {self._limits.output >> 20}", kind="too-large")
        check_clip(clip, example_id)
        return clip

    def _converted(self, source: Path, choice: Sequence[str], mp4: Path) -> str | None:
        """Write `mp4`; None where that worked, else the reason why not. Raises `OSError` where the disk is full."""
        finished = self._ffmpeg(source, [*choice, *OUTPUT, str(mp4)])
        if finished.code == ffmpeg.DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))
        worked = finished.code == 0 and mp4.exists() and mp4.stat().st_size > 0
        return None if worked else finished.reason

    def _ffmpeg(self, source: Path, output: Sequence[str]) -> ffmpeg.Finished:
        from scorer.sampling.opening import FORMATS

        # Only the formats of the sampler: playlist formats are not among them, so a clip cannot make ffmpeg open another file.
        options = ["-threads", "2", "-format_whitelist", FORMATS]
        return ffmpeg.run(
            source, output, input_options=options, timeout=self._timeout, task="making it playable", limits=self._limits
        )


def _probe(path: Path) -> VideoFacts:
    """`scorer.sampling.probe` in this process; a command that only deletes clips need not load the decoders."""
    from scorer.sampling import probe

    return probe(path)
