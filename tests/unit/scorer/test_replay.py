"""Packets that are kept: each is asked of the demuxer once, and every reader gets it with its own stamps."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.sampling import decode, opening, replay, sample
from scorer.sampling.decode import open_video
from scorer.sampling.replay import Replay
from scorer.spec import SamplerSpec
from tests.support.media import make_clip
from tests.support.packets import StampedPacket


class Demuxer:
    """Gives out packets once, and counts them."""

    def __init__(self, count: int) -> None:
        self.asked = 0
        self._count = count

    def packets(self) -> Iterator[StampedPacket]:
        for number in range(self._count):
            self.asked += 1
            yield StampedPacket(number * 10, number * 10 if number else None, pos=number)


def stamps(packets: Iterator[Any]) -> list[tuple[int | None, int | None]]:
    return [(packet.pts, packet.dts) for packet in packets]


def test_each_reader_gets_all_packets_as_the_file_has_them() -> None:
    demuxer = Demuxer(9)
    kept = Replay(demuxer.packets())
    for packet in islice(kept.packets(), 4):
        packet.pts, packet.dts = -1, -1  # as the running clock does after a jump
    assert demuxer.asked == 4
    expected = [(number * 10, number * 10 if number else None) for number in range(9)]
    assert stamps(kept.packets()) == expected
    assert stamps(kept.packets()) == expected
    assert demuxer.asked == 9
    assert kept.is_complete


@pytest.mark.parametrize(("name", "limit"), [("MOST_BYTES", 5), ("MOST_PACKETS", 5)])
def test_a_large_file_is_not_kept(monkeypatch: pytest.MonkeyPatch, name: str, limit: int) -> None:
    monkeypatch.setattr(replay, name, limit)
    kept = Replay(Demuxer(9).packets())
    assert len(stamps(kept.packets())) == 9
    assert not kept.is_complete
    assert stamps(kept.packets()) == []


@pytest.mark.parametrize("ending", ["mp4", "ts"])
def test_a_segment_is_opened_once_and_sampled_as_if_nothing_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    path = make_clip(tmp_path / f"clip.{ending}", 160, 120, 2)
    opened = 0

    def open_for_decoding(*given: Any, **named: Any) -> Any:
        nonlocal opened
        opened += 1
        return opening.open_for_decoding(*given, **named)

    monkeypatch.setattr(decode, "open_for_decoding", open_for_decoding)
    ((_, clip),) = sample(path, SamplerSpec())
    assert opened == 1
    monkeypatch.setattr(decode, "REPLAYED_FORMATS", ())
    ((_, again),) = sample(path, SamplerSpec())
    for name in ("frames", "clip", "statistics"):
        np.testing.assert_array_equal(getattr(clip, name), getattr(again, name), name)
    assert clip.info == again.info


def test_frames_can_be_read_again_from_the_beginning_also_after_a_seek(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", 160, 120, 2, options=("-g", "10", "-pix_fmt", "yuv420p"))
    with open_video(path) as video:
        first = [time for time, *_ in islice(video.course(0.0).frames(0.0), 7)]
        whole = [time for time, *_ in video.course(0.0).frames(0.0)]
        assert len(whole) == 50
        assert whole[:7] == first
        assert [time for time, *_ in video.course(1.0).frames(1.0)] == pytest.approx(whole[25:])
        assert [time for time, *_ in video.course(0.0).frames(0.0)] == whole
