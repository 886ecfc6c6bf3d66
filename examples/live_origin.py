"""A small live origin that breaks: an encoder that plays the demo's clip in real time into HLS, and an HTTP server on loopback.

The programme has a bad picture, a black one, and at last the origin is away for a while. `live_demo.py` follows it.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import imageio_ffmpeg

from scorer.process import die_with_parent

CLIP = Path(__file__).parent / "face.mp4"
"""24 s: good from 0, bad from 8, good from 16."""

SEGMENT = 2
"""Seconds of a segment, and between two key frames."""

WINDOW = 6
"""Segments in the playlist: all that the origin has missed while it was away are still there."""

SIZE, FPS = 448, 25

GOOD, BAD, BLACK, AWAY = "good", "bad", "black", "away"

PROGRAMME = ((GOOD, 16), (BAD, 10), (GOOD, 8), (BLACK, 10), (GOOD, 8), (AWAY, 10), (GOOD, 6))
"""What is on, and for how many seconds."""


@dataclass(frozen=True)
class Stretch:
    """A part of the programme. begin, end: seconds from its start."""

    what: str
    begin: float
    end: float


def stretches() -> list[Stretch]:
    """The programme with its times."""
    parts, begin = [], 0.0
    for what, seconds in PROGRAMME:
        parts.append(Stretch(what, begin, begin + seconds))
        begin += seconds
    return parts


class Origin:
    """Use it as a context manager, then call `play`."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._film = folder / "origin", folder / "programme.mp4"
        self._folder.mkdir(parents=True)
        self._away = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self._away, directory=str(self._folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}/live.m3u8"

    def __enter__(self) -> Origin:
        threading.Thread(target=self._server.serve_forever, name="origin", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def make_programme(self) -> None:
        """Encode the whole programme, so that playing it in real time takes next to no processor time."""
        black = self._film.with_name("black.mp4")
        _ffmpeg(["-f", "lavfi", "-i", f"color=black:size={SIZE}x{SIZE}:rate={FPS}", "-t", "30", str(black)])
        listing = self._film.with_name("programme.txt")
        listing.write_text("".join(_entries(black)))
        x264 = f"keyint={SEGMENT * FPS}:min-keyint={SEGMENT * FPS}:scenecut=0:open-gop=0"
        encode = ["-an", "-r", str(FPS), "-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-x264-params", x264]
        _ffmpeg(["-f", "concat", "-safe", "0", "-i", str(listing), *encode, "-pix_fmt", "yuv420p", str(self._film)])

    @contextmanager
    def play(self) -> Iterator[float]:
        """Play the programme in real time, inside this context. Yields the time at which it began, seconds since 1970."""
        hls = ["-f", "hls", "-hls_time", str(SEGMENT), "-hls_list_size", str(WINDOW), "-hls_delete_threshold", "10"]
        flags = ["-hls_flags", "program_date_time+delete_segments+temp_file+omit_endlist"]
        command = [*FFMPEG, "-re", "-i", str(self._film), "-c", "copy", *hls, *flags, str(self._folder / "live.m3u8")]
        encoder = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        began = time.time()
        timers = [threading.Timer(time_of, switch) for time_of, switch in self._switches()]
        for timer in timers:
            timer.daemon = True
            timer.start()
        try:
            yield began
        finally:
            for timer in timers:
                timer.cancel()
            encoder.terminate()
            encoder.wait(10)

    def _switches(self) -> list[tuple[float, Callable[[], None]]]:
        away = [stretch for stretch in stretches() if stretch.what == AWAY]
        return [(s.begin, self._away.set) for s in away] + [(s.end, self._away.clear) for s in away]


class _Handler(SimpleHTTPRequestHandler):
    """Serves the folder; answers 404 while the origin is away. HTTP/1.0: each request has a connection of its own."""

    def __init__(self, away: threading.Event, *arguments: object, directory: str) -> None:
        self._away = away
        super().__init__(*arguments, directory=directory)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        if self._away.is_set():
            self.send_error(404)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        """Quiet."""


FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y"]


def _ffmpeg(arguments: Sequence[str]) -> None:
    subprocess.run([*FFMPEG, *arguments], stdin=subprocess.DEVNULL, check=True)


def _entries(black: Path) -> Iterator[str]:
    """The programme as ffmpeg's concat demuxer reads it: pieces of the clip, none longer than it has."""
    for what, seconds in PROGRAMME:
        file, begin, most = (black, 0, 30) if what == BLACK else (CLIP, 8 if what == BAD else 0, 8)
        while seconds > 0:
            piece = min(seconds, most)
            yield f"file '{file.resolve()}'\ninpoint {begin}\noutpoint {begin + piece}\n"
            seconds -= piece
