"""Made streams with known events, for `tests.bench.tiers`: what is in them, and their segments, made with ffmpeg."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import av
import imageio_ffmpeg

Happening = Literal["nothing", "content", "damage"]
"""What happens in the middle: nothing; other pictures of the same quality, or not; or damage of a known size."""

HEIGHT, LARGE, RATE = 360, 720, 25
"""Lines of most streams, and of those that show what a usual size of live streams costs; pictures a second."""

MOST_ENLARGED = 1.7
"""How many times a source may be enlarged for a large stream: more would be damage."""

LOOPED = 8.0
"""Seconds of each source that are shown, again and again: the quality of the shipped clip drops after them."""

ENCODERS: dict[str, tuple[str, ...]] = {
    "x264": ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "700k", "-maxrate", "900k", "-bufsize", "1400k", "-g", "50"),
    "ultrafast": ("-c:v", "libx264", "-preset", "ultrafast", "-b:v", "1200k", "-g", "50"),
    "cbr": (
        "-c:v", "libx264", "-preset", "veryfast", "-b:v", "700k", "-minrate", "700k", "-maxrate", "700k", "-bufsize", "700k",
        "-x264-params", "nal-hrd=cbr:force-cfr=1", "-g", "50",
    ),
    "vbr": ("-c:v", "libx264", "-preset", "veryfast", "-crf", "24", "-g", "50"),
    "x265": ("-c:v", "libx265", "-preset", "ultrafast", "-b:v", "500k",
        "-x265-params", "log-level=error:keyint=50:open-gop=0:pools=none"),
    "gop-1": ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "700k", "-maxrate", "900k", "-bufsize", "1400k", "-g", "25"),
    "gop-10": ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "700k", "-maxrate", "900k", "-bufsize", "1400k", "-g", "250"),
    "open-gop": (
        "-c:v", "libx264", "-preset", "veryfast", "-b:v", "700k", "-maxrate", "900k", "-bufsize", "1400k",
        "-x264-params", "open-gop=1:keyint=50:repeat-headers=1",
    ),
    "starved": ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "90k", "-maxrate", "120k", "-bufsize", "180k", "-g", "50"),
    "weak": ("-c:v", "libx264", "-preset", "veryfast", "-b:v", "250k", "-maxrate", "300k", "-bufsize", "500k", "-g", "50"),
}  # fmt: skip

STEADY = ("x264", "ultrafast", "cbr", "vbr", "x265", "gop-1", "gop-10", "open-gop")
EVENTFUL = ("x264", "cbr", "vbr", "x265", "open-gop")
"""The encoders of streams to which nothing happens, and of the others."""

CONTENT: dict[str, str] = {
    "zoom": "crop=iw/1.3:ih/1.3",
    "other-camera": "crop=iw/1.5:ih/1.5:0:0",
    "darker": "eq=brightness=-0.08",
    "brighter": "eq=brightness=0.08:saturation=1.2",
}
"""What a stream's pictures become by something that is no damage; in ffmpeg's filters."""

DAMAGE: dict[str, str] = {
    "blur-1": "gblur=sigma=0.8",
    "blur-2": "gblur=sigma=1.6",
    "blur-3": "gblur=sigma=3",
    "upscaled-2": f"scale=-2:{HEIGHT // 2},scale=-2:{HEIGHT}",
    "upscaled-3": f"scale=-2:{HEIGHT // 3 // 2 * 2},scale=-2:{HEIGHT}",
    "noise-2": "noise=alls=14:allf=t",
    "noise-3": "noise=alls=32:allf=t",
    "night": "eq=brightness=-0.3:contrast=0.6,noise=alls=10:allf=t",
    "stutter": "fps=5",
}


@dataclass(frozen=True)
class Made:
    """One made stream: `count` segments of `seconds`, and as many after the event.

    event: a name of `CONTENT` or `DAMAGE`, of an encoder that takes over, `ad` for another source, or "". height: lines.
    """

    source: Path
    encoder: str = "x264"
    event: str = ""
    count: int = 7
    seconds: float = 2.0
    height: int = HEIGHT

    @property
    def name(self) -> str:
        """Its name, also of its folder."""
        return f"{self.source.stem}-{self.encoder}-{self.event or 'steady'}{f'-{self.height}p' * (self.height != HEIGHT)}"

    @property
    def happens(self) -> Happening:
        """What its event is."""
        if not self.event:
            return "nothing"
        return "damage" if self.event in DAMAGE or self.event in ("starved", "weak") else "content"


def streams_of(sources: list[Path]) -> list[Made]:
    """The streams that are made of these sources: each encoder steady, and each event, in both sizes, spread over the sources."""
    made: list[Made] = []
    further: list[Made] = []
    large = [source for source in sources if lines_of(source) * MOST_ENLARGED >= LARGE]
    for place, source in enumerate(sources):
        made += _share(sources, place, HEIGHT)
        further += [
            Made(source, _under(number, place), event) for number, event in enumerate(DAMAGE) if number % len(sources) != place
        ]
    further.sort(key=lambda stream: hash_of(stream.name))
    shares = [stream for place in range(len(large)) for stream in _share(large, place, LARGE)]
    steady, eventful = ([stream for stream in shares if bool(stream.event) == event] for event in (False, True))
    # A short run has some of all: a few of each damage first, and what takes long to make last.
    return [*made, *steady, *further, *eventful]


def _share(sources: list[Path], place: int, height: int) -> list[Made]:
    """A source's share of the encoders and the events."""
    source, made = sources[place], []
    for number, encoder in enumerate(STEADY):
        if number % len(sources) == place:
            count, seconds = (3, 10.0) if encoder == "gop-10" else (8, 2.0)
            made.append(Made(source, encoder, "", count, seconds, height))
    for number, event in enumerate([*DAMAGE, *CONTENT, "starved", "weak", "ultrafast", "x265", "ad"]):
        if number % len(sources) == place:
            made.append(Made(source, _under(number, place), event, height=height))
    return made


def _under(number: int, place: int) -> str:
    """The encoder under which an event happens."""
    return EVENTFUL[(number + place) % len(EVENTFUL)]


def lines_of(source: Path) -> int:
    """The lines of a source's pictures."""
    with av.open(source) as container:
        return container.streams.video[0].height


def hash_of(name: str) -> int:
    """A number that puts streams into an order that has nothing to do with their names."""
    return zlib.crc32(name.encode())


def make(stream: Made, other: Path, folder: Path) -> list[Path]:
    """The stream's segments in their order, in a folder of their own; made where they are missing. other: shown in an ad."""
    folder = folder / stream.name
    if not folder.exists():
        # A run that is stopped leaves no half of a stream for the next one.
        unfinished = folder.with_name(f"{stream.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _encode_all(stream, other, unfinished)
        unfinished.rename(folder)
    # An encode can end with a segment of a few pictures.
    first, second = (sorted(folder.glob(f"{name}*.ts")) for name in "ab")
    return [*first[: stream.count], *second[: stream.count]] if second else first[: 2 * stream.count]


def _encode_all(stream: Made, other: Path, folder: Path) -> None:
    source, other = _shortened(stream.source, folder), _shortened(other, folder)
    if stream.event in ENCODERS:
        _encode(stream, [(source, "null", 0)], stream.encoder, folder, "a")
        _encode(stream, [(source, "null", 1)], stream.event, folder, "b")
    else:
        after = (other if stream.event == "ad" else source, (CONTENT | DAMAGE).get(stream.event, "null"), 1)
        _encode(stream, [(source, "null", 0), after], stream.encoder, folder, "a")


def _shortened(source: Path, folder: Path) -> Path:
    """The first seconds of a source."""
    short = folder / f"source-{source.stem}.mkv"
    if not short.exists():
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            "-i",
            str(source),
            "-t",
            str(LOOPED),
            "-an",
            "-c",
            "copy",
            str(short),
        ]
        subprocess.run(command, check=True)
    return short


def _encode(stream: Made, parts: list[tuple[Path, str, int]], encoder: str, folder: Path, name: str) -> None:
    """Encode parts of a stream one after the other, and cut them. parts: source, filters, and which half of the stream it is."""
    seconds, height, width = stream.count * stream.seconds, stream.height, stream.height * 16 // 9
    inputs: list[str] = []
    filters: list[str] = []
    for place, (source, change, half) in enumerate(parts):
        inputs += ["-stream_loop", "-1", "-ss", str(half * 3.0), "-t", str(seconds), "-i", str(source)]
        same = f"scale=-2:{height},crop='min(iw,{width})':{height},pad={width}:{height}:-1:-1,setsar=1,fps={RATE}"
        filters.append(f"[{place}:v]fps={RATE},{change},{same},format=yuv420p[p{place}]")
    joined = "".join(f"[p{place}]" for place in range(len(parts)))
    graph = ";".join([*filters, f"{joined}concat=n={len(parts)}:v=1[v]"])
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs, "-filter_complex", graph, "-map", "[v]", "-an"]
    every = ["-force_key_frames", f"expr:gte(t,n_forced*{stream.seconds:g})"] if stream.encoder != "gop-10" else []
    cut = ["-f", "segment", "-segment_time", f"{stream.seconds:g}", "-segment_format", "mpegts", f"{folder}/{name}%03d.ts"]
    subprocess.run([*command, *_options(encoder, height), *every, "-threads", "1", *cut], check=True)


def _options(encoder: str, height: int) -> list[str]:
    """An encoder's options; its bitrates are for `HEIGHT` lines, and larger pictures get more."""
    more = (height / HEIGHT) ** 1.5
    return [re.sub(r"^(\d+)k$", lambda rate: f"{float(rate[1]) * more:.0f}k", option) for option in ENCODERS[encoder]]
