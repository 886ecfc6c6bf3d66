"""Where a segment's time goes: CPU time of each stage of the full look, as a share of a full decode of the same segment.

    python -m tests.bench.stages [--sets 720p,demo] [--repeats 3] [--specifications standard,lean] [--json]

The full decode is `ffmpeg -threads 1`, its start included, in the same run. CPU time is that of all threads. Each set is the
demo clip in another form, in segments of 2 s with a keyframe each:

    720p, 360p, 1080p    the face fills the frame, with grain, as a camera and a fast encoder make it
    demo                 the demo clip as it is, padded to 720p
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import imageio_ffmpeg

from scorer.find import SHIPPED
from scorer.load import load_engine
from scorer.model.configuration import FVQRaterConfig
from scorer.model.modeling import FVQRater
from scorer.runtime.export import export_graph
from scorer.runtime.graph import GRAPH_FILE
from scorer.sampling import sample, sampler
from scorer.sampling.course import Course
from scorer.sampling.decode import Video
from scorer.sampling.faces import FaceFinder
from scorer.sampling.pictures import Pictures
from scorer.sampling.portrait import PersonMatte
from scorer.sampling.signals import ClipSignals
from scorer.sampling.statistics import names_of
from scorer.spec import SPECIFICATIONS, SamplerSpec, Scorer
from tests.bench.arguments import parser_of
from tests.support.cpu import decode_seconds
from tests.support.media import live_segments
from tests.support.processes import ROOT

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
DEMO = ROOT / "examples/face.mp4"

SETS: Mapping[str, tuple[str, str]] = {
    "720p": ("scale=1280:720:force_original_aspect_ratio=increase,crop=1280:720,noise=alls=8:allf=t", "2800k"),
    "demo": ("scale=-2:720,pad=1280:720:-1:-1", "410k"),
    "360p": ("scale=640:360:force_original_aspect_ratio=increase,crop=640:360,noise=alls=8:allf=t", "900k"),
    "1080p": ("scale=1920:1080:force_original_aspect_ratio=increase,crop=1920:1080,noise=alls=8:allf=t", "5000k"),
}
"""For each set the filters of its pictures, and its rate."""

STAGES: Mapping[str, Sequence[tuple[Any, str]]] = {
    "open": ((Video, "__init__"),),
    "packets": ((Video, "timeline"),),
    "decode": ((Video, "course"), (Course, "frames")),
    "grey": ((Pictures, "small_luma"),),
    "rgb": ((Pictures, "picture"),),
    "clip": ((Pictures, "square"),),
    "faces": ((FaceFinder, "find"),),
    "matte": ((PersonMatte, "mask"),),
    "statistics": ((sampler, "measured_frame"), (sampler, "following_luma"), (sampler, "clip_statistics")),
    "signals": ((ClipSignals, "add"), (ClipSignals, "finish")),
}
"""The calls of each stage. What else a look does is `crops`."""


class StageClock:
    """Adds up CPU time by stage; a stage within another one is not counted twice."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count what happens inside as the stage's."""
        self._switch()
        self._running.append(name)
        try:
            yield
        finally:
            self._switch()
            self._running.pop()

    def _switch(self) -> None:
        now = time.process_time()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, counted as the stage's; of one that gives an iterator, each step."""

        def call(*arguments: Any, **options: Any) -> Any:
            with self.stage(name):
                result = function(*arguments, **options)
            return self._steps(name, result) if isinstance(result, Iterator) else result

        return call

    def _steps(self, name: str, steps: Iterator[Any]) -> Iterator[Any]:
        while True:
            with self.stage(name):
                try:
                    step = next(steps)
                except StopIteration:
                    return
            yield step

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count the calls in `STAGES`."""
        with ExitStack() as patches:
            for name, calls in STAGES.items():
                for owner, call in calls:
                    patches.enter_context(patch.object(owner, call, self.timed(name, getattr(owner, call))))
            yield


def stage_table(sets: Sequence[str], specifications: Mapping[str, SamplerSpec], repeats: int) -> list[dict[str, Any]]:
    """A row for each set and specification: CPU ms of the full decode and of each stage, and the ratio of the decode to the look.

    The model has the shipped network's shape, for the pictures and numbers of each specification, and random weights: they do not
    change its cost.
    """
    cv2.setNumThreads(1)
    rows = []
    with tempfile.TemporaryDirectory(prefix="fvq-stages-") as name:
        engines = {title: engine_for(Path(name) / f"model-{title}", spec) for title, spec in specifications.items()}
        for chosen in sets:
            folder = Path(name) / chosen
            folder.mkdir()
            segments = _segments(folder, *SETS[chosen])
            for title, spec in specifications.items():
                decode, stages = _side_by_side(segments, spec, repeats)
                stages["model"] = _model_ms(engines[title], segments[0], repeats)
                look = sum(stages.values())
                rows.append({"set": chosen, "specification": title, "decode": decode, "stages": stages, "ratio": decode / look})
    return rows


def printed(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table as Markdown: each stage as a share of the full decode."""
    names = [*STAGES, "crops", "model"]
    head = ["set", "specification", "full decode, ms", *names, "look", "decode / look"]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        shares = [row["stages"][name] / row["decode"] for name in names]
        cells = [f"{share:.3f}" for share in (*shares, sum(shares))]
        lines.append([row["set"], row["specification"], f"{row['decode']:.0f}", *cells, f"{row['ratio']:.2f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _segments(folder: Path, filters: str, rate: str) -> list[Path]:
    clip = folder / "clip.mp4"
    encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", rate, "-g", "50", "-keyint_min", "50", "-sc_threshold", "0"]
    source = ["-t", "7", "-i", str(DEMO), "-an", "-vf", f"fps=25,{filters}"]
    subprocess.run([FFMPEG, "-v", "error", *source, *encode, str(clip)], check=True)
    return live_segments(clip, folder, 2.0)


def _side_by_side(segments: Sequence[Path], spec: SamplerSpec, repeats: int) -> tuple[float, dict[str, float]]:
    """CPU ms a segment: of ffmpeg's full decode, and of each stage of the look."""
    sample(segments[0], spec)  # loads the detectors
    clock = StageClock()
    decode = 0.0
    with clock.watching():
        for _ in range(repeats):
            for segment in segments:
                decode += decode_seconds(segment)
                with clock.stage("crops"):
                    sample(segment, spec)
    looks = repeats * len(segments)
    return decode / looks * 1000, {name: clock.seconds[name] / looks * 1000 for name in (*STAGES, "crops")}


def engine_for(folder: Path, spec: SamplerSpec) -> Scorer:
    """A network of the shipped one's shape as a graph that takes clips of that specification."""
    shutil.copytree(SHIPPED["nano"], folder, ignore=shutil.ignore_patterns(GRAPH_FILE))
    config = FVQRaterConfig.from_pretrained(folder)
    config.statistics_size = len(names_of(spec.statistics_version))
    FVQRater(config).save_pretrained(folder)
    spec.save(folder)
    export_graph(folder)
    return load_engine(str(folder), device="cpu")


def _model_ms(engine: Scorer, segment: Path, repeats: int) -> float:
    clip = sample(segment, engine.spec)[0][1]
    engine.score([clip])
    started = time.process_time()
    for _ in range(repeats * 3):
        engine.score([clip])
    return (time.process_time() - started) / (repeats * 3) * 1000


def main() -> None:
    """Measure and print."""
    parser = parser_of(__doc__)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--specifications", default=",".join(SPECIFICATIONS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    chosen = {name: SPECIFICATIONS[name] for name in arguments.specifications.split(",")}
    rows = stage_table(arguments.sets.split(","), chosen, arguments.repeats)
    print(json.dumps(rows) if arguments.json else printed(rows))


if __name__ == "__main__":
    main()
