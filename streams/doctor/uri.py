"""`fvq doctor --uri`: one segment goes the way that a worker would take it, step by step."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from scorer.sampling import SamplerPool
from scorer.spec import SampledClip, Scorer
from streams import parts
from streams.doctor.check import Check, attempt, timed
from streams.errors import FvqError, MediaError
from streams.media.fetch import Fetcher, LocalMedia
from streams.media.uri import parse
from streams.settings import Settings
from streams.text import counted

STEPS = {
    "fetch": "see the message; FVQ_MEDIA_ROOTS, FVQ_FETCH_HOSTS, FVQ_FETCH_PRIVATE, FVQ_FETCH_MAX_MB say what is allowed",
    "model": "see the message; FVQ_MODEL and FVQ_REGISTRY, or FVQ_SCORER_URL where the model is served, say what scores",
    "decode": "look at the segment with ffprobe; the limits are FVQ_SAMPLE_TIMEOUT and FVQ_SAMPLE_MEMORY_MB",
    "score": "see the message; `fvq doctor --for worker` checks the model",
}
"""The steps in order, and what to do where one fails."""


def walk(settings: Settings, uri: str, init_uri: str | None = None) -> Iterator[Check]:
    """The steps of a segment, each as it is done; the first that fails is the last. Nothing is stored, and no message is sent.

    uri, init_uri: as in the segment's event.
    """
    with ExitStack() as stack:
        segment = _Segment(settings, uri, init_uri, stack)
        for step, remedy in STEPS.items():
            check = _take(segment, step, remedy)
            yield check
            if not check.ok:
                return


def _take(segment: _Segment, step: str, remedy: str) -> Check:
    # A registry of models that does not answer raises OSError, one with a wrong address ValueError.
    return timed(lambda: attempt(step, getattr(segment, step), remedy, FvqError, ImportError, OSError, ValueError))


class _Segment:
    """A segment on its way: each step keeps what the next one takes, and says in words what it has seen."""

    def __init__(self, settings: Settings, uri: str, init_uri: str | None, stack: ExitStack) -> None:
        self._settings, self._uri, self._init_uri, self._stack = settings, uri, init_uri, stack
        self._media: LocalMedia
        self._scorer: Scorer
        self._clip: SampledClip

    def fetch(self) -> str:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fvq-doctor-")))

        async def fetch() -> LocalMedia:
            async with Fetcher(parts.fetch_limits(self._settings), folder, "TMPDIR") as fetcher:
                return await fetcher.fetch(self._uri, self._init_uri)

        self._media = asyncio.run(fetch())
        return f"{parse(self._uri).shown}, {self._media.path.stat().st_size / 1000:.0f} kB"

    def model(self) -> str:
        settings = self._settings
        if settings.scorer_url:
            remote = parts.remote_scorer(settings, settings.scorer_url.split(","))
            self._stack.callback(remote.close)
            remote.connect()
            self._scorer = remote
            return f"{remote.model}, served"
        from scorer.load import load_engine

        self._scorer = load_engine(settings.model, settings.device, parts.registry(settings))
        return f"{self._scorer.model}, in this process"

    def decode(self) -> str:
        settings = self._settings
        with SamplerPool(self._scorer.spec, 1, settings.sample_timeout, settings.sample_memory_mb, eager=False) as pool:
            windows = pool.submit(self._media.path).result()
        if not windows:
            raise MediaError("the segment holds no picture", kind="empty")
        self._clip = windows[0][1]
        info, faces = self._clip.info, self._clip.face_summary
        pictures = f"{info.width}x{info.height} {info.codec}, {info.duration:.2f} s, {counted(info.frames, 'picture')}"
        signals = ", ".join(f"{name} {value:.2f}" for name, value in self._clip.signals.items())
        return f"{pictures}; {counted(faces.count, 'face')}; {signals}"

    def score(self) -> str:
        (score,) = self._scorer.score([self._clip])
        return f"{score.score:.1f}, {score.level}, expected error {score.uncertainty:.1f}"
