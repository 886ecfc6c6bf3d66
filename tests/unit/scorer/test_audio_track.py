"""Which packets of several audio tracks are kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from scorer.sampling.audio import track
from scorer.sampling.audio.track import AudioTrack


def _packet(stream: Any, size: int) -> Any:
    return SimpleNamespace(stream=stream, stream_index=stream.index, size=size, dts=None)


def test_a_dropped_track_does_not_count_against_the_one_that_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track, "MOST_BYTES", 100)
    streams = [SimpleNamespace(index=1), SimpleNamespace(index=2)]
    audio = AudioTrack()
    audio.streams = streams
    audio.add_first(_packet(streams[1], 60))
    heard = [_packet(streams[0], 50), _packet(streams[0], 50)]
    for packet in heard:
        audio.add_first(packet)
    assert (list(audio.packets()), audio.is_whole) == (heard, True)
    audio.add_first(_packet(streams[0], 1))
    assert (audio.count, audio.is_whole) == (1, False), "over the limit by its own bytes"
