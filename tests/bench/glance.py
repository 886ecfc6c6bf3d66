"""What a glance costs: its CPU time as a share of ffmpeg's full decode of the same segments, in one run.

    python -m tests.bench.glance [--rounds 5] [--json]

The demo clip, as it is and with grain, at 360p, 720p and 1080p, x264 veryfast, keyframes 2 s apart, in segments of 2 s
(MPEG-TS), mute, and with AAC (stereo, 48 kHz, 128 kbit/s), of noise and of silence. The decode is `ffmpeg -threads 1` of the
mute segment with its start; headers and glance run in this process, as in a sampling child.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import imageio_ffmpeg

from scorer.sampling.audio.measure import audio_facts
from scorer.sampling.decode import open_video
from scorer.sampling.glance import glance, headers_only
from scorer.spec import Window
from tests.bench.arguments import parser_of
from tests.support.cpu import decode_seconds

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
DEMO = Path(__file__).resolve().parents[2] / "examples/face.mp4"
HEIGHTS = (360, 720, 1080)
CONTENTS = {"demo": "null", "grain": "noise=alls=8:allf=t"}
SECONDS = 4
NOISE = "anoisesrc=color=pink:amplitude=0.3:seed=1:sample_rate=48000"
SILENCE = "anullsrc=sample_rate=48000:channel_layout=stereo"


@dataclass(frozen=True)
class Cost:
    """CPU time of one segment. decode: ms of ffmpeg; all others: shares of it.

    heard_headers, heard_glance: of the segment with sound. silent_headers: of the one whose sound is silent. sound: what the
    sound adds to a full look.
    """

    content: str
    height: int
    decode: float
    headers: float
    glance: float
    heard_headers: float
    heard_glance: float
    silent_headers: float
    sound: float


def make_segments(folder: Path, content: str, height: int) -> list[Path]:
    """Segments of the demo clip. content: of `CONTENTS`."""
    width = height * 16 // 9
    size = f"scale=-2:{height},crop=min(iw\\,{width}):{height},pad={width}:{height}:-1:-1,{CONTENTS[content]}"
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-pix_fmt", "yuv420p", "-g", "50", "-keyint_min", "50"]
    command = [FFMPEG, "-v", "error", "-t", str(SECONDS), "-i", str(DEMO), "-r", "25", "-an", "-vf", size, *encode]
    name = f"{content}-{height}"
    cut = ["-f", "segment", "-segment_time", "2", str(folder / f"{name}-%d.ts")]
    subprocess.run([*command, "-threads", "1", *cut], check=True)
    return sorted(folder.glob(f"{name}-*.ts"))


def with_sound(segment: Path, source: str, name: str) -> Path:
    """The same segment with an audio track. source: one of lavfi's."""
    path = segment.with_suffix(f".{name}.ts")
    encode = ["-shortest", "-c:v", "copy", "-ac", "2", "-c:a", "aac", "-b:a", "128k"]
    subprocess.run([FFMPEG, "-v", "error", "-i", str(segment), "-f", "lavfi", "-i", source, *encode, str(path)], check=True)
    return path


def listened(segment: Path) -> None:
    """What a full look does before it decodes a picture: reads the packets, and measures the sound."""
    with open_video(segment) as video:
        timeline = video.timeline(0.0, math.inf)
        audio_facts(video.audio, [Window(0.0, timeline.end)], video.began, is_whole=True)


def cpu_seconds(function: Callable[[Path], object], segment: Path) -> float:
    """CPU seconds of a call in this process."""
    started = time.process_time()
    function(segment)
    return time.process_time() - started


def measure(segments: Sequence[Path], content: str, height: int, rounds: int) -> Cost:
    """The costs over all segments. Each round measures everything in turn; the fastest of each counts."""
    totals = [0.0] * 8
    for segment in segments:
        heard, silent = with_sound(segment, NOISE, "noise"), with_sound(segment, SILENCE, "silence")
        looks = [(headers_only, segment), (glance, segment), (headers_only, heard), (glance, heard), (headers_only, silent)]
        # The sound is what `listened` takes more for the segment that has some.
        looks += [(listened, segment), (listened, heard)]
        times = [[decode_seconds(segment), *(cpu_seconds(look, path) for look, path in looks)] for _ in range(rounds)]
        totals = [total + min(column) for total, column in zip(totals, zip(*times, strict=True), strict=True)]
    decode, *shares = totals[0], *(total / totals[0] for total in totals[1:])
    return Cost(content, height, decode / len(segments) * 1000, *shares[:5], shares[6] - shares[5])


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    costs = []
    with tempfile.TemporaryDirectory(prefix="fvq-bench-") as folder:
        for content in CONTENTS:
            for height in HEIGHTS:
                segments = make_segments(Path(folder), content, height)
                costs.append(measure(segments, content, height, arguments.rounds))
    if arguments.json:
        print(json.dumps([asdict(cost) for cost in costs]))
        return
    print(f"CPU time of a segment of 2 s, {os.cpu_count()} cores, the fastest of {arguments.rounds} rounds")
    print("content  height  full decode   headers    glance  with sound: headers    glance  silent: headers  a full look's sound")
    for cost in costs:
        mute = f"{cost.content:7}  {cost.height:6}  {cost.decode:8.0f} ms  {cost.headers:8.3f}  {cost.glance:8.3f}"
        print(f"{mute}  {cost.heard_headers:19.3f}  {cost.heard_glance:8.3f}  {cost.silent_headers:15.3f}  {cost.sound:19.3f}")


if __name__ == "__main__":
    main()
