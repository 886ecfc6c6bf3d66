"""Clips as every browser plays them: MP4 with H.264 4:2:0, made by ffmpeg in a child process and kept in a folder.

What is H.264 already is put into MP4 as it is; anything else is encoded again so finely that no loss is seen. Sound and
metadata are left out: pictures are rated, and titles may name the stream.
"""

from __future__ import annotations

import hashlib
import os
import re
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import imageio_ffmpeg

from scorer.process import forbid_core_dump, limit
from scorer.sampling.decode import FORMATS
from streams.errors import MediaError

CRF = "12"
"""Of x264: from about 17 down people see no difference to the original."""

MAX_SECONDS = 120
"""Of a clip that are shown. Segments are a few seconds long."""

WORK = "work-"
_PLAYS = re.compile(rb"Stream #0:\d+.*: Video: h264 .*?, yuvj?420p\b")


class PlayableClips:
    """The MP4s of a folder, named by example id; made when they are first asked for.

    read: a clip's bytes by its address. timeout: seconds that ffmpeg may take; memory_mb: MiB that it may allocate;
    max_mb: MiB that a clip and its MP4 may have.
    """

    def __init__(
        self, folder: Path, read: Callable[[str], bytes], timeout: float = 60.0, memory_mb: int = 2048, max_mb: int = 256
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._read = read
        self._timeout = timeout
        self._memory = memory_mb * 2**20
        self._size = max_mb * 2**20
        # One at a time: a rater waits for one clip, and the machine may be scoring streams.
        self._turn = threading.Lock()

    def get(self, example_id: str, clip_uri: str) -> Path:
        """A clip's MP4. Raises `MediaError` where the clip is gone, is not what it was, or cannot be decoded."""
        target = self._target(example_id)
        with self._turn:
            if not target.exists():
                self._make(example_id, clip_uri, target)
        return target

    def forget(self, example_ids: Iterable[str]) -> None:
        """Delete the MP4s of these examples."""
        for example_id in example_ids:
            self._target(example_id).unlink(missing_ok=True)

    def keep_only(self, example_ids: Iterable[str]) -> None:
        """Delete all others: the queue may have lost some while nobody looked."""
        names = {self._target(one).name for one in example_ids}
        for path in self._folder.iterdir():
            if path.suffix == ".mp4" and path.name not in names:
                path.unlink(missing_ok=True)
            elif path.name.startswith(WORK) and time.time() - path.stat().st_mtime > 10 * self._timeout:
                shutil.rmtree(path, ignore_errors=True)  # what a killed process left

    def _target(self, example_id: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", example_id):
            raise MediaError(f"{example_id!r} is no example id", kind="refused")
        return self._folder / f"{example_id}.mp4"

    def _make(self, example_id: str, clip_uri: str, target: Path) -> None:
        data = self._read(clip_uri)
        if len(data) > self._size:
            raise MediaError(f"the clip has {len(data) >> 20} MiB, more than {self._size >> 20}", kind="too-large")
        if hashlib.sha256(data).hexdigest() != example_id:
            raise MediaError("the clip in the store is not the one that was queued (its SHA-256 differs)", kind="refused")
        with tempfile.TemporaryDirectory(dir=self._folder, prefix=WORK) as work:
            source, made = Path(work) / "source", Path(work) / "made.mp4"
            source.write_bytes(data)
            # Without an output ffmpeg describes its input and ends with an error: only its words count.
            if not (_PLAYS.search(self._run(source, []).stderr) and self._written(source, ["-c:v", "copy"], made)):
                encode = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-c:v", "libx264", "-preset", "veryfast", "-crf", CRF]
                done = self._run(source, [*_OUTPUT, *encode, "-pix_fmt", "yuv420p", "-fps_mode", "passthrough", str(made)])
                if done.returncode or not _filled(made):
                    words = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
                    raise MediaError(f"it cannot be made playable: {words[-1][:200]}")
            os.replace(made, target)

    def _written(self, source: Path, options: list[str], made: Path) -> bool:
        return self._run(source, [*_OUTPUT, *options, str(made)]).returncode == 0 and _filled(made)

    def _run(self, source: Path, arguments: list[str]) -> subprocess.CompletedProcess[bytes]:
        """ffmpeg on a hostile file: it opens this file and no other, within limits of time, memory and output."""
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-hide_banner", "-y", "-threads", "2",
            "-protocol_whitelist", "file,pipe", "-format_whitelist", FORMATS, "-i", f"file:{source}", *arguments,
        ]  # fmt: skip
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        seconds = int(self._timeout) + 1
        for kind, maximum in (
            (resource.RLIMIT_DATA, self._memory),
            (resource.RLIMIT_FSIZE, self._size),
            (resource.RLIMIT_CPU, 2 * seconds),  # it ends also where this process has died
        ):
            limit(kind, maximum, child.pid)
        forbid_core_dump(child.pid)
        try:
            _, errors = child.communicate(timeout=self._timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            raise MediaError(f"making it playable took more than {self._timeout:g} s", kind="timeout") from None
        except BaseException:
            child.kill()
            child.wait()
            raise
        return subprocess.CompletedProcess(command, child.returncode, b"", errors)


_OUTPUT = [
    "-map", "0:V:0", "-an", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1", "-t", str(MAX_SECONDS),
    "-avoid_negative_ts", "make_zero", "-movflags", "+faststart", "-f", "mp4",
]  # fmt: skip


def _filled(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
