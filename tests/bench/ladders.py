"""Scores of real clips at the steps of a compression ladder: what `fvq alerts evaluate` makes its series from.

    python -m tests.bench.ladders FOLDER > streams/alerts/ladders.csv

Each clip in the folder is one person, best one that the model never saw. It is framed in four ways, as the shots of a
stream are, and each framing is encoded at every step; windows of a segment's length, one second apart, are scored.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import imageio_ffmpeg

from scorer.engine import load_engine
from scorer.sampling import SamplerPool, probe
from scorer.spec import SampledClip
from streams.local.windows import SEGMENT_SECONDS
from streams.media.videos import find_videos

FRAMINGS = {
    "whole": "null",
    "close": "crop=iw/1.4:ih/1.4",
    "left": "crop=iw/1.25:ih/1.15:0:0",
    "right": "crop=iw/1.15:ih/1.25:iw-ow:ih-oh",
}
QUALITIES = (20, 26, 30, 34, 38, 42)
"""x264's constant rate factors: from nothing to be seen to hardly to be watched."""

WINDOW_STEP = 1.0


def encode(source: Path, framing: str, crf: int, target: Path) -> None:
    """One framing of a source at one step of the ladder."""
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
    """Every whole window of a clip."""
    count = int((probe(path).duration - SEGMENT_SECONDS) / WINDOW_STEP + 1.01)
    tasks = [pool.submit(path, window_seconds=SEGMENT_SECONDS, start=i * WINDOW_STEP, limit=1) for i in range(count)]
    return [clip for task in tasks for _, clip in task.result()]


def main(folder: Path) -> None:
    """Score everything and print the table."""
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
                    table.writerows((source.stem, name, step, i, f"{one.score:.2f}") for i, one in enumerate(scores))
            print(source.stem, file=sys.stderr)
        pool.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
