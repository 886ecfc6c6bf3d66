"""Clips and a scorer without a model, for tests of everything around the model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from scorer.sampling.audio.facts import AudioFacts
from scorer.sampling.bitstream.facts import Bitstream
from scorer.spec import LEVELS, ClipScore, Faces, MediaInfo, ModelId, SampledClip, SamplerSpec, Window, level_of

SPEC = SamplerSpec(frame_size=16, portrait_size=16, face_size=16, clip_size=8)

BITSTREAM = Bitstream("h264", 64, 48, 25.0, 1e5, None, 1, 2000.0, 200.0, 0.3, 0.0, 24.5, 1.5)
"""What the packets of every made-up clip say."""

AUDIO = AudioFacts(True, "aac", 48_000, 2, -23.004, -6.02, 0.25, 0.0, 21.33)
"""The sound of every made-up clip."""


def make_clip(light: int = 128, seed: int = 0, spec: SamplerSpec = SPEC, statistics: int = 20) -> SampledClip:
    """A clip of noise around one brightness, with the specification's shapes. statistics: how many numbers they are."""
    rng = np.random.default_rng(seed)

    def pixels(count: int, side: int) -> np.ndarray:
        return np.clip(rng.integers(-20, 20, (count, side, side, 3)) + light, 0, 255).astype(np.uint8)

    return SampledClip(
        frames=pixels(spec.frames, spec.frame_size),
        portrait=pixels(spec.portrait_frames, spec.portrait_size),
        portrait_mask=np.ones(spec.portrait_frames, bool),
        faces=pixels(spec.face_frames, spec.face_size),
        faces_mask=np.ones(spec.face_frames, bool),
        clip=pixels(spec.clip_frames, spec.clip_size),
        statistics=rng.normal(size=statistics).astype(np.float32),
        signals={
            "black": 0.0,
            "freeze": 0.0,
            "blur": 0.2,
            "blockiness": 0.1,
            "noise": 1.0,
            "luma": float(light),
            "contrast": 20.0,
        },
        face_summary=Faces(1, 0.2),
        info=MediaInfo(64, 48, 25.0, 50, 2.0, "h264", 0.1),
        thumbnail=pixels(1, 72)[0],
        bitstream=BITSTREAM,
        audio=AUDIO,
    )


@cache
def free_windows(spec: SamplerSpec, statistics: int) -> list[tuple[Window, SampledClip]]:
    """What every file is sampled to where sampling takes no time; also in a sampling child."""
    return [(Window(), make_clip(spec=spec, statistics=statistics))]


class BrightnessScorer:
    """Scores a clip by its mean brightness. failures: how many of its first calls fail."""

    spec = SPEC
    model = ModelId("brightness", "1")

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.batches: list[int] = []

    def score(self, clips: Sequence[SampledClip]) -> list[ClipScore]:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("the GPU is not available")
        self.batches.append(len(clips))
        values = [float(clip.frames.mean() / 255 * 100) for clip in clips]
        return [self._score_of(value) for value in values]

    def _score_of(self, score: float) -> ClipScore:
        level = level_of(score)
        return ClipScore(score, level, {name: float(name == level) for name in LEVELS}, 5.0, self.model)
