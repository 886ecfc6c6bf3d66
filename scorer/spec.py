"""The values that pass between the steps from a file to a score. A worker without a model imports this: no torch here.

file -> `Window`s -> `SampledClip`s (sampling, in a child process) -> batch -> `ClipScore`s (engine or remote scorer)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # the package of the sampler imports this module
    from scorer.sampling.audio.facts import AudioFacts
    from scorer.sampling.bitstream.facts import Bitstream

LEVELS = ("bad", "poor", "fair", "good", "excellent")
"""The five levels of the absolute category rating (ITU-T P.910), worst first."""

LEVEL_WIDTH = 100 / len(LEVELS)
"""Points of a level."""

SPEC_FILE = "sampler.json"
"""The sampler's specification, saved beside the weights in every model directory."""


MAX_IMAGES, MAX_SIDE, MAX_PIXELS = 128, 1024, 1 << 25
"""Most images of a stream, their largest side, px, and most pixels of all streams' images together.

A model directory may come from anyone, and each clip that waits has its images in memory: 96 MiB at most.
"""


STATISTICS_VERSION = 3
"""The newest definition of the technical statistics."""

SIGNALS_VERSION = 2
"""Definition of a clip's signals, which is the same for all models; values of two versions cannot be compared. Version 1 measured
blur, blockiness, noise, luma and contrast in the statistics' crops, whose size was the model's."""

FIRST_NAMES = frozenset(
    {
        *("frames", "frame_size", "grid", "portrait_frames", "portrait_size"),
        *("face_frames", "face_size", "clip_frames", "clip_size", "statistics_version"),
    }
)
"""The values that every specification names."""

CHOICES = {"decoded": ("all", "references"), "searched": ("all", "crops", "apart")}
"""The values that are words."""


def level_of(score: float) -> str:
    """The level of a score 0-100: each level is a fifth of the scale."""
    return LEVELS[min(4, max(0, int(score // LEVEL_WIDTH)))]


@dataclass(frozen=True)
class SamplerSpec:
    """What is sampled from a clip. It is saved with a model, so that serving samples what the model was trained on.

    All images are RGB uint8. Fragments are cut at native resolution and never resized, because scaling hides the
    compression and blur that the score measures.
    """

    frames: int = 4
    """Frames of the spatial stream, spread evenly over the clip."""
    frame_size: int = 160
    """Side of the square image that is made of each frame, px."""
    grid: int = 1
    """Fragments per side of that image. Each is frame_size / grid px wide and cut from its own cell of the frame."""
    portrait_frames: int = 2
    """Frames of the portrait stream: a native fragment of the person, with the background replaced by grey."""
    portrait_size: int = 160
    face_frames: int = 2
    """Aligned crops of the largest face."""
    face_size: int = 112
    clip_frames: int = 16
    """Frames of the temporal clip: whole pictures, scaled to clip_size x clip_size."""
    clip_size: int = 64
    statistics_version: int = 1
    """Version of the technical statistics' definition (`scorer.sampling.statistics`)."""
    decoded: str = "all"
    """Which pictures are decoded: "all", or "references" for those alone of which others are made. The rest are what a decoder
    may drop without harm (the B-frames that nothing refers to); how many there are depends on the encoder."""
    searched: str = "all"
    """Which pictures are searched for faces: "all" frames of the spatial stream; "crops" for those of them alone of which a
    portrait or a crop is cut; "apart" for as many other pictures as there are crops, spread evenly over the clip. Unless it is
    "all", portraits are cut of the pictures of crops. Statistics from version 2 on are measured in searched pictures only."""
    thinning: int = 1
    """The small grey picture of each frame is made of every so many-th line and column of a picture that is large enough."""

    @property
    def pixels(self) -> int:
        """Pixels of all images of a clip."""
        return (
            self.frames * self.frame_size**2
            + self.portrait_frames * self.portrait_size**2
            + self.face_frames * self.face_size**2
            + self.clip_frames * self.clip_size**2
        )

    def values(self) -> dict[str, int | str]:
        """Its values by name, as JSON has them. One that a later version added is left out where it is the default, so that
        earlier versions read what they understand.
        """
        return {name: value for name, value in asdict(self).items() if name in FIRST_NAMES or value != _DEFAULTS[name]}

    def save(self, directory: Path) -> None:
        """Write it as `SPEC_FILE` into a model directory."""
        (directory / SPEC_FILE).write_text(json.dumps(self.values(), indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path) -> Self:
        """Read it from a model directory; raises OSError, ValueError or TypeError where it is missing or out of bounds."""
        values = json.loads((directory / SPEC_FILE).read_text())
        try:
            return cls.from_values(values)
        except ValueError as error:
            raise ValueError(f"{SPEC_FILE}: {error}") from error

    @classmethod
    def from_values(cls, values: Mapping[str, object]) -> Self:
        """A specification from its values by name; raises ValueError or TypeError where one is missing or out of bounds."""
        spec = cls(**values)  # type: ignore[arg-type]  # the types are checked here
        for name, value in asdict(spec).items():
            if name in CHOICES:
                if value not in CHOICES[name]:
                    raise ValueError(f"{name} is {value!r}, not {' or '.join(CHOICES[name])}")
                continue
            least, most = (8, MAX_SIDE) if name.endswith("_size") else (1, MAX_IMAGES)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}, not a whole number within {least}-{most}")
        if spec.pixels > MAX_PIXELS:
            raise ValueError(f"its images have {spec.pixels} pixels together, more than {MAX_PIXELS}")
        if spec.frame_size // spec.grid < 1:
            raise ValueError(f"grid is {spec.grid}, more than frame_size")
        if spec.statistics_version > STATISTICS_VERSION:
            raise ValueError(f"statistics_version is {spec.statistics_version}, and the newest here is {STATISTICS_VERSION}")
        return spec


_DEFAULTS = asdict(SamplerSpec())

LEAN = SamplerSpec(portrait_frames=1, statistics_version=2, decoded="references", searched="crops", thinning=4)
LEANER = replace(LEAN, frames=2, clip_frames=8)

STEADY = replace(LEANER, statistics_version=3)

SPECIFICATIONS = {
    "standard": SamplerSpec(),
    "lean": LEAN,
    "leaner": LEANER,
    "steady": STEADY,
    # One large fragment, of a moment that neither face is of: the more of a picture is seen, and the more moments, the better.
    "middle": replace(STEADY, frames=1, frame_size=288, searched="apart"),
}
"""Specifications that a recipe may name. What each costs: `python -m tests.bench.stages`."""


@dataclass(frozen=True)
class Window:
    """A part of a file, in seconds from its first frame; `duration` None means to the end."""

    start: float = 0.0
    duration: float | None = None


@dataclass(frozen=True)
class Faces:
    """Faces in a clip.

    count: faces per frame, the median over the sampled frames. area: share of the picture that the largest face's box
    covers, 0-1, the mean over the sampled frames with a face.
    """

    count: int = 0
    area: float = 0.0


@dataclass(frozen=True)
class MediaInfo:
    """What the decoder read in one window."""

    width: int
    height: int
    fps: float
    """Frames per second: decoded frames divided by the window's duration."""
    frames: int
    duration: float
    """Seconds."""
    codec: str
    bits_per_pixel: float
    """Bits of the window's packets divided by the pixels of its frames."""


@dataclass(frozen=True)
class ModelInput:
    """The arrays of one clip that the model takes.

    N (a count of images) and S (their side) are those of the `SamplerSpec`, by stream.
    """

    frames: NDArray[np.uint8]
    """(N, S, S, 3) native fragments."""
    portrait: NDArray[np.uint8]
    """(N, S, S, 3) native fragments of the person on grey; grey without a person."""
    portrait_mask: NDArray[np.bool_]
    """(N,) whether there is a person in the image."""
    faces: NDArray[np.uint8]
    """(N, S, S, 3) aligned crops of the largest face; zeros where there is none."""
    faces_mask: NDArray[np.bool_]
    """(N,) whether there is a face in the image."""
    clip: NDArray[np.uint8]
    """(N, S, S, 3) whole pictures at low resolution, over time."""
    statistics: NDArray[np.float32]
    """(D,) technical statistics, named by `scorer.sampling.statistics.names_of`; finite."""


def black_pictures(count: int, side: int) -> NDArray[np.uint8]:
    """(count, side, side, 3) zeros."""
    return np.zeros((count, side, side, 3), np.uint8)


def made_up_input(
    spec: SamplerSpec, statistics: int, pictures: Callable[[int, int], NDArray[np.uint8]] = black_pictures, present: bool = False
) -> ModelInput:
    """An input of the specification's shapes that shows nobody's media.

    statistics: how many numbers they are. pictures: makes (N, S, S, 3) images from N and S. present: whether the images are said
    to show a person and a face, and what the statistics are: ones, else zeros.
    """
    return ModelInput(
        frames=pictures(spec.frames, spec.frame_size),
        portrait=pictures(spec.portrait_frames, spec.portrait_size),
        portrait_mask=np.full(spec.portrait_frames, present),
        faces=pictures(spec.face_frames, spec.face_size),
        faces_mask=np.full(spec.face_frames, present),
        clip=pictures(spec.clip_frames, spec.clip_size),
        statistics=np.full(statistics, present, np.float32),
    )


MODEL_INPUTS = tuple(field.name for field in fields(ModelInput))
"""The names of a `ModelInput`'s arrays."""


@dataclass(frozen=True)
class Preview:
    """A small picture of a clip, to show to people. width, height: px."""

    jpeg: bytes
    width: int
    height: int


@dataclass(frozen=True)
class SampledClip(ModelInput):
    """One clip as it is sampled: what the model takes, and what people are shown."""

    signals: dict[str, float]
    """For people, the same for all models (`scorer.sampling.signals`): black, freeze and blur 0-1, blockiness >= 0, noise, luma
    and contrast in 8-bit levels."""
    face_summary: Faces
    info: MediaInfo
    thumbnail: NDArray[np.uint8]
    """(72, W, 3) the middle frame, to show to people."""
    bitstream: Bitstream | None = None
    """What the window's packets say; None where no packet has a time in it."""
    audio: AudioFacts | None = None
    """What the window's sound is like."""
    preview: Preview | None = None
    """The middle frame as a small JPEG, where one was asked for."""


@dataclass(frozen=True)
class ModelId:
    """The name and version of a model."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


@dataclass(frozen=True)
class ClipScore:
    """The model's score for one clip."""

    score: float
    """0-100, the MOS scale."""
    level: str
    """One of `LEVELS`."""
    level_probs: dict[str, float]
    """Probability of each level; sums to 1."""
    uncertainty: float
    """Expected absolute error of `score`, MOS points, >= 0."""
    model: ModelId
    fallback: bool = False
    """True where a small model answered, because the scorer that should have was away."""

    def __post_init__(self) -> None:
        if not 0 <= self.score <= 100:
            raise ValueError(f"score {self.score} is outside 0-100")


class Scorer(Protocol):
    """Scores batches of clips, in this process or elsewhere; the same clips give the same scores."""

    @property
    def spec(self) -> SamplerSpec:
        """The sampler's specification of the scorer's model. A remote scorer's may change."""

    @property
    def model(self) -> ModelId:
        """The model that makes the scores."""

    def score(self, clips: Sequence[ModelInput]) -> list[ClipScore]:
        """One score per clip, in order. It blocks: an event loop calls it in a thread.

        Raises `ModelError` where the model cannot score one of the clips. A remote scorer raises `ScorerError` where it cannot
        answer now, and `SpecChangedError` where the clips have to be sampled again.
        """
