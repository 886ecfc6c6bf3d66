"""What `tests.bench.tiers` measures of the segments of made streams: looks of each kind, and what each costs."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import imageio_ffmpeg
import numpy as np

from scorer.find import find_model
from scorer.load import LoadedModel, load_engine
from scorer.sampling.bitstream.facts import Bitstream
from scorer.sampling.glance import Glance, glance, headers_only
from scorer.sampling.sampler import sample
from streams.errors import MediaError
from tests.bench.tier_streams import Happening, make, streams_of

CHANGED = 10.0
"""An event that changes the quality by so many points must be found."""


@dataclass(frozen=True)
class Measured:
    """One segment: its full look's score, uncertainty and signals, its glance, and CPU seconds of each and of a full decode."""

    score: float
    uncertainty: float
    black: float
    freeze: float
    bitstream: dict[str, float | str | None]
    picture: list[float] | None
    dark: float
    full_s: float
    headers_s: float
    keyframe_s: float
    decode_s: float

    @property
    def glance(self) -> Glance:
        """The whole glance."""
        picture = None if self.picture is None else np.array(self.picture, np.float32)
        return Glance(Bitstream(**self.bitstream), picture, self.dark)  # type: ignore[arg-type]

    @property
    def headers(self) -> Glance:
        """The glance without a picture."""
        return Glance(Bitstream(**self.bitstream))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Stream:
    """A made stream as it was measured: the segments before its event and after it; all before, where there is none."""

    name: str
    happens: Happening
    seconds: float
    height: int
    before: list[Measured]
    after: list[Measured]

    @property
    def change(self) -> float:
        """By how many points the event changed the quality."""
        return fmean(look.score for look in self.after) - fmean(look.score for look in self.before) if self.after else 0.0

    @property
    def is_changed(self) -> bool:
        """Whether that must be found."""
        return abs(self.change) >= CHANGED


def measure(path: Path, seconds: float, engine: LoadedModel) -> Measured:
    """Look at a segment in every way, one after the other."""
    started = time.process_time()
    ((_, clip),) = sample(path, engine.spec, None, 0.0, 1, seconds, None)
    (score,) = engine.score([clip])
    full = time.process_time() - started
    started = time.process_time()
    headers_only(path, sound=False)
    packets = time.process_time() - started
    started = time.process_time()
    seen = glance(path)
    keyframe = time.process_time() - started
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i", str(path), "-f", "null", "-"]
    subprocess.run(decode, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(
        score.score, score.uncertainty, clip.signals["black"], clip.signals["freeze"], asdict(seen.bitstream),
        None if seen.picture is None else [float(value) for value in seen.picture], seen.black, full, packets, keyframe,
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )  # fmt: skip


def measured_before(file: Path, model: str) -> list[Measured] | None:
    """What a file has of a stream's segments; None where it is missing, or has the scores of another model."""
    if not file.exists():
        return None
    stored = json.loads(file.read_text())
    if stored["model"] != model:
        return None
    return [Measured(**values) for values in stored["segments"]]


def keep_measured(file: Path, model: str, segments: Sequence[Measured]) -> None:
    """Write what was measured of a stream's segments, and with which model, for the next run."""
    file.write_text(json.dumps({"model": model, "segments": [asdict(segment) for segment in segments]}))


def measured_streams(folder: Path, sources: list[Path], more: int) -> list[Stream]:
    """The streams that are measured already with the shipped model, and `more` others at most."""
    model = str(find_model("nano")[1])
    engine: LoadedModel | None = None
    streams = []
    for stream in streams_of(sources):
        file = folder / f"{stream.name}.json"
        whole = measured_before(file, model)
        if whole is None:
            if not more:
                continue
            more -= 1
            engine = engine or load_engine("nano", "cpu")
            other = sources[(sources.index(stream.source) + 1) % len(sources)]
            segments = make(stream, other, folder)
            try:
                whole = [measure(path, stream.seconds, engine) for path in segments]
            except MediaError as error:
                print(f"{stream.name} is left out: {error}", file=sys.stderr)
                continue
            keep_measured(file, model, whole)
            print(file.stem, len(whole), file=sys.stderr)
        half = stream.count if stream.event else 2 * stream.count
        before, after = whole[:half], whole[half : 2 * stream.count]
        streams.append(Stream(stream.name, stream.happens, stream.seconds, stream.height, before, after))
    return streams
