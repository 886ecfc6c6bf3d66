"""The rating page's data in one folder: the ratings, and the playable clips. A deletion removes both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from streams.events import TrainingExample
from streams.rating.database import NAME
from streams.rating.playable import PlayableClips
from streams.rating.store import RatingStore


class RatingData:
    """The page's data; it may be changed while the page's server runs, and while it does not. directory: `FVQ_DATA_DIR`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def forget_stream(self, stream_id: str) -> int:
        """Delete a stream's clips and ratings; returns the number of clips."""
        return self._forget(lambda store: store.forget_stream(stream_id))

    def forget_examples(self, examples: Sequence[TrainingExample]) -> int:
        """Delete some clips and their ratings; returns the number of clips."""
        return self._forget(lambda store: store.forget([(example.stream_id, example.example_id) for example in examples]))

    def _forget(self, forget: Callable[[RatingStore], list[str]]) -> int:
        if not (self._directory / NAME).exists():
            return 0
        clips = forget(RatingStore(self._directory))
        PlayableClips(self._directory / "rating", _no_reading).forget(clips)
        return len(clips)


def _no_reading(uri: str) -> bytes:
    raise AssertionError(f"a deletion reads no clip: {uri}")
