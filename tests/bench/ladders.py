"""Score real clips at the steps of a compression ladder. `fvq alerts evaluate` builds its series from this table.

    python -m tests.bench.ladders FOLDER > streams/alerts/ladders.csv

Each clip in the folder shows one person, preferably one that is not in the training data. The script crops it in four ways,
like the shots of a stream, encodes each crop at every step, and scores windows of a segment's length, one second apart.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg

from scorer.load import load_engine
from scorer.sampling import SamplerPool, probe
from scorer.spec import SampledClip
from streams.local.windows import SEGMENT_SECONDS
from streams.media.videos import find_videos
from tests.bench.arguments import parser_of

FRAMINGS = {
    "whole": "null",
    "close": "crop=iw/1.4:ih/1.4",
    "left": "crop=iw/1.25:ih/1.15:0:0",
    "right": "crop=iw/1.15:ih/1.25:iw-ow:ih-oh",
}
QUALITIES = (20, 26, 30, 34, 38, 42)
"""Constant rate factors of x264, from no visible loss to hardly watchable."""

WINDOW_STEP = 1.0
"""Seconds between the starts of two windows."""


def encode(source: Path, framing: str, crf: int, target: Path) -> None:
    """Encode one framing of a source at one step of the ladder. framing: a filter of ffmpeg. crf: see `QUALITIES`."""
    even = "scale=trunc(iw/2)*2:trunc(ih/2)*2"
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-y",
        "-i",
        str(source),
        "-vf",
        f"{framing},{even}",
        "-threads",
        "1",
    ]
    subprocess.run([*command, "-an", "-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf), str(target)], check=True)


def windows(path: Path, pool: SamplerPool) -> list[SampledClip]:
    """All windows that lie completely in the clip, sampled."""
    count = int((probe(path).duration - SEGMENT_SECONDS) / WINDOW_STEP + 1.01)
    tasks = [pool.submit(path, window_seconds=SEGMENT_SECONDS, start=i * WINDOW_STEP, limit=1) for i in range(count)]
    return [clip for task in tasks for _, clip in task.result()]


def main(folder: Path) -> None:
    """Score all clips of the folder and print the table."""
    engine = load_engine()
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("person", "framing", "step", "window", "score"))
    with tempfile.TemporaryDirectory() as work:
        pool = SamplerPool(engine.spec, 1, 60.0, 2048)
        for source in find_videos([folder]):
            for name, framing in FRAMINGS.items():
                for step, crf in enumerate(QUALITIES):
                    encoded = Path(work) / "encoded.mp4"
                    encode(source, framing, crf, encoded)
                    scores = engine.score(windows(encoded, pool))
                    rows = [(source.stem, name, step, window, f"{score.score:.2f}") for window, score in enumerate(scores)]
                    table.writerows(rows)
            print(source.stem, file=sys.stderr)
        pool.close()


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path)
    main(parser.parse_args().folder)
