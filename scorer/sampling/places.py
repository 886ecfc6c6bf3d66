"""Which moments of a window are sampled, and what is taken of the picture that is shown at each."""

from __future__ import annotations

from dataclasses import dataclass

from scorer.sampling.signals import DETAIL_PICTURES
from scorer.spec import SamplerSpec


@dataclass(frozen=True)
class Places:
    """The sampled pictures of a window; all but `moments` hold places in it."""

    moments: tuple[float, ...]
    """When each picture is shown, as shares of the window's duration, ascending."""
    cut: frozenset[int]
    """Pictures of which the spatial stream's fragments are."""
    faces: tuple[int, ...]
    """The picture of each crop of a face."""
    portraits: tuple[int, ...]
    """The picture of each portrait."""
    searched: frozenset[int]
    """Pictures that are searched for faces."""
    measured: frozenset[int]
    """Pictures in which the statistics are measured."""
    detailed: frozenset[int]
    """Pictures in which the signals' blur, blockiness and noise are measured."""


def places_of(spec: SamplerSpec) -> Places:
    """Those of a specification."""
    frames = evenly(spec.frames)
    if spec.searched == "apart":
        own = evenly(spec.face_frames or spec.portrait_frames)
        moments = sorted({*frames, *own})
        found_in = [moments.index(moment) for moment in own]
        faces = found_in[: spec.face_frames]
    else:
        moments = frames
        found_in = [*range(spec.frames)]
        faces = _spread(spec.face_frames, found_in)
        if spec.searched == "crops" and faces:
            # Of the frames of crops, so that no other one is searched.
            found_in = faces
    portraits = _spread(spec.portrait_frames, found_in)
    everywhere = frozenset(range(len(moments)))
    searched = everywhere if spec.searched == "all" else frozenset((*portraits, *faces))
    return Places(
        moments=tuple(moments),
        cut=frozenset(moments.index(moment) for moment in frames),
        faces=tuple(faces),
        portraits=tuple(portraits),
        searched=searched,
        # Without a crop there is no picture to search, but the statistics need one.
        measured=searched or frozenset((0,)) if spec.statistics_version > 1 else everywhere,
        detailed=frozenset(_spread(min(DETAIL_PICTURES, len(moments)), [*everywhere])),
    )


def evenly(count: int) -> list[float]:
    """The middles of so many equal parts of a window, as shares of its duration."""
    return [(i + 0.5) / count for i in range(count)]


def _spread(count: int, places: list[int]) -> list[int]:
    """`count` of the places, spread evenly over them."""
    return [places[int((i + 0.5) * len(places) / count)] for i in range(count)]
