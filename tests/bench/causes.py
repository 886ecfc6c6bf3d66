"""Measure incidents of known cause on real clips. `fvq alerts evaluate --causes` builds its streams from this table.

    python -m tests.bench.causes CLIP... > streams/alerts/causes.csv

Each clip shows one person. It stands for a camera; three renditions are encoded from it. An incident is in what the camera
sees or sends, so that all renditions have it, or in the encoding of one rendition. Beside them are pictures without a face
(a slate, colour bars, a picture that is turned), and pictures so bad that the face in them may not be found. Every window of
a segment's length is scored by the shipped model. Only the first seconds of a clip are taken.
"""

from __future__ import annotations

import csv
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np

from scorer.load import load_engine
from scorer.sampling import SamplerPool
from streams.errors import MediaError
from streams.events import Signals
from streams.local.windows import SEGMENT_SECONDS
from tests.bench.arguments import parser_of

FPS, CLIP_SECONDS = 25, 5.0

WINDOWS = 4
"""Windows of a clip, one second apart."""

RENDITIONS = {"high": 1.0, "mid": 0.75, "low": 0.5}
"""Each rendition's size, as a share of the camera's."""

LOST_PACKETS = 0.02
"""Share of the MPEG-TS packets that are lost, in the incidents with packet loss."""

TS_PACKET, TABLES = 188, {0, 17, 4096}
"""Bytes of an MPEG-TS packet, and the packet ids of the tables, without which nothing can be decoded."""

CAMERA_CRF = 12
"""What the camera sends to the encoders: no loss that could be seen."""


@dataclass(frozen=True)
class Coding:
    """How a rendition is encoded. crf, preset: x264's. change: a filter of ffmpeg before the encoder."""

    crf: int = 23
    preset: str = "veryfast"
    change: str = "null"


DARK = "lutyuv=y='16+(val-16)*{0}':u='128+(val-128)*{0}':v='128+(val-128)*{0}'"
BLACK = "lutyuv=y=16:u=128:v=128"
STILL = f"select='eq(n,0)',loop=loop={int(CLIP_SECONDS * FPS)}:size=1:start=0,setpts=N/{FPS}/TB"
SMALL = "scale=trunc(iw*{0}/2)*2:-2:flags=area,scale=trunc(iw/{0}/2)*2:-2"

CAMERA = {
    "light": DARK.format(0.15),
    "focus": "gblur=sigma=4",
    "night": DARK.format(0.4) + ",noise=alls=30:allf=t",
    "black": BLACK,
    "frozen": STILL,
}
"""Incidents in what the camera sees: a filter of ffmpeg."""

ENCODER = {
    "overload": Coding(44, "ultrafast", f"fps=8,fps={FPS}"),
    "re-encode": Coding(40, "ultrafast", SMALL.format(0.5)),
    "black": Coding(change=BLACK),
    "frozen": Coding(change=STILL),
}
"""Incidents in the encoding of one rendition."""

FACELESS = {"turned": "transpose=1", "upside-down": "hflip,vflip"}
"""Faces that the detector does not find, in pictures of full quality."""

HARM = {
    "blur": "gblur=sigma=8",
    "more-blur": "gblur=sigma=16",
    "dark": DARK.format(0.05),
    "noise": "noise=alls=100:allf=t",
    "tiny": SMALL.format(0.08),
    "blocks": "scale=trunc(iw/24)*2:-2:flags=area,scale=iw*12:-2:flags=neighbor",
}
"""Pictures so bad that the face in them may not be found."""

MADE = {
    "bars": f"smptehdbars=size=640x360:rate={FPS}",
    "pattern": f"testsrc2=size=640x360:rate={FPS}",
    "scenery": f"mandelbrot=size=640x360:rate={FPS}",
}
"""Pictures without a face, made by ffmpeg."""


def ffmpeg(*arguments: str) -> None:
    """Run ffmpeg on one thread."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "fatal", "-y", "-threads", "1", *arguments]
    subprocess.run(command, check=True)


def encode(source: Path, target: Path, change: str, crf: int, preset: str = "veryfast") -> None:
    """Encode the first seconds of a video. change: a filter of ffmpeg. The container is the target's ending."""
    even = "scale=trunc(iw/2)*2:trunc(ih/2)*2,format=yuv420p"
    options = ["-c:v", "libx264", "-preset", preset, "-crf", str(crf), "-g", str(FPS), "-an", "-r", str(FPS)]
    ffmpeg("-i", str(source), "-t", str(CLIP_SECONDS), "-vf", f"{change},{even}", *options, str(target))


def lose_packets(stream: Path, seed: str) -> None:
    """Take random packets out of an MPEG-TS file; the first ones and the tables stay, so that it can be opened."""
    dice = random.Random(seed)
    data = stream.read_bytes()
    packets = [data[place : place + TS_PACKET] for place in range(0, len(data), TS_PACKET)]
    kept = [
        packet
        for number, packet in enumerate(packets)
        if number < 10 or int.from_bytes(packet[1:3]) & 0x1FFF in TABLES or dice.random() >= LOST_PACKETS
    ]
    stream.write_bytes(b"".join(kept))


def slate(target: Path) -> None:
    """A picture of text that drifts, as it is shown before a show and in its breaks."""
    card = np.full((440, 800, 3), (70, 45, 25), np.uint8)
    for line, text in enumerate(("We are right back", "Live at 20:15")):
        cv2.putText(card, text, (110, 190 + 80 * line), cv2.FONT_HERSHEY_DUPLEX, 1.6, (235, 235, 235), 2, cv2.LINE_AA)
    picture = target.with_suffix(".png")
    cv2.imwrite(str(picture), card)
    drift = "crop=640:360:'80+60*sin(t)':'40+30*cos(t*1.3)'"
    options = ["-vf", drift, "-c:v", "libx264", "-crf", str(CAMERA_CRF), "-pix_fmt", "yuv420p"]
    ffmpeg("-loop", "1", "-framerate", str(FPS), "-i", str(picture), "-t", str(CLIP_SECONDS), *options, str(target))


def rendition(camera: Path, name: str, coding: Coding, work: Path) -> Path:
    """Encode one rendition of what the camera sends."""
    target = work / "rendition.mp4"
    size = RENDITIONS[name]
    encode(camera, target, f"scale=trunc(iw*{size}/2)*2:-2,{coding.change}", coding.crf, coding.preset)
    return target


def damaged(source: Path, work: Path, seed: str, crf: int, change: str = "null") -> Path:
    """What a decoder shows of a video that lost packets on its way."""
    sent, shown = work / "sent.ts", work / "shown.mp4"
    encode(source, sent, change, crf)
    lose_packets(sent, seed)
    encode(sent, shown, "null", CAMERA_CRF)
    return shown


def incidents(clip: Path, work: Path) -> Iterator[tuple[str, str, str, Path]]:
    """The incidents of one clip: where it is, its name, the rendition, and the file that shows it; usual pictures first."""
    camera = work / "camera.mp4"
    encode(clip, camera, "null", CAMERA_CRF)
    for name in RENDITIONS:
        yield "usual", "usual", name, rendition(camera, name, Coding(), work)
    changed = work / "changed.mp4"
    for incident, change in CAMERA.items():
        encode(camera, changed, change, CAMERA_CRF)
        for name in RENDITIONS:
            yield "source", incident, name, rendition(changed, name, Coding(), work)
    encode(camera, changed, "null", 42)
    for name in RENDITIONS:
        yield "source", "weak-feed", name, rendition(changed, name, Coding(), work)
    lossy = damaged(camera, work, clip.stem, 20)
    for name in RENDITIONS:
        yield "source", "packet-loss", name, rendition(lossy, name, Coding(), work)
    for name, size in RENDITIONS.items():
        for incident, coding in ENCODER.items():
            yield "rendition", incident, name, rendition(camera, name, coding, work)
        yield (
            "rendition",
            "packet-loss",
            name,
            damaged(camera, work, f"{clip.stem} {name}", 23, f"scale=trunc(iw*{size}/2)*2:-2"),
        )
    for where, changes in (("faceless", FACELESS), ("harm", HARM)):
        for incident, change in changes.items():
            encode(camera, changed, change, CAMERA_CRF)
            yield where, incident, "high", rendition(changed, "high", Coding(), work)


def made_pictures(work: Path) -> Iterator[tuple[str, str, str, Path]]:
    """Pictures without a face, as `incidents` gives its own."""
    source = work / "made.mp4"
    for name, made in MADE.items():
        options = ["-c:v", "libx264", "-crf", str(CAMERA_CRF), "-pix_fmt", "yuv420p"]
        ffmpeg("-f", "lavfi", "-i", made, "-t", str(CLIP_SECONDS), *options, str(source))
        yield "faceless", name, "high", source
    slate(source)
    yield "faceless", "slate", "high", source


def main(clips: list[Path]) -> None:
    """Measure all clips and print the table."""
    engine = load_engine()
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("clip", "where", "incident", "rendition", "window", "score", "faces", "face", *Signals.model_fields))
    with tempfile.TemporaryDirectory() as folder, SamplerPool(engine.spec, 1, 60.0, 2048) as pool:
        work = Path(folder)
        sources = [("made", made_pictures(work)), *((clip.stem, incidents(clip, work)) for clip in clips)]
        for clip, shown in sources:
            for where, incident, name, path in shown:
                samples = []
                for window in range(WINDOWS):
                    task = pool.submit(path, window_seconds=SEGMENT_SECONDS, start=float(window), limit=1)
                    try:
                        samples += [(window, sample) for _, sample in task.result()]
                    except MediaError as error:
                        print(f"{clip} {incident} {name} {window}: {error}", file=sys.stderr)
                scores = engine.score([sample for _, sample in samples])
                for (window, sample), score in zip(samples, scores, strict=True):
                    faces, signals = sample.face_summary, sample.signals
                    values = [f"{signals[signal]:.4g}" for signal in Signals.model_fields]
                    row = (clip, where, incident, name, window, f"{score.score:.1f}", faces.count, f"{faces.area:.3f}")
                    table.writerow((*row, *values))
            sys.stdout.flush()
            print(clip, file=sys.stderr)


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("clip", type=Path, nargs="+")
    main(parser.parse_args().clip)
