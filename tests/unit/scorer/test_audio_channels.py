"""Sound of many channels, each in a plane of its own: as many as FFmpeg's frames have places for are measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.sound import loudness_by_ffmpeg, make_sound
from tests.unit.scorer.test_audio import PINK, heard, quick


def test_sound_of_more_channels_than_a_frame_has_places_for_is_not_measured(tmp_path: Path) -> None:
    """Of frames with more than eight planes PyAV would read past the end of FFmpeg's list of them."""
    options = ("-mapping_family", "255", "-b:a", "256k")
    twelve = f"{PINK},pan=12c|" + "|".join(f"c{number}=c0" for number in range(12))
    path = make_sound(tmp_path / "many.mkv", twelve, "libopus", *options, channels=12)
    (facts,) = heard(path)
    assert (facts.present, facts.codec, facts.channels, facts.silent) == (True, "opus", 12, None)
    assert quick(path).silent is None


@pytest.mark.parametrize(
    ("name", "layout", "codec", "options"),
    [
        ("eight.mkv", "7.1", "libopus", ("-mapping_family", "1", "-b:a", "500k")),
        ("eight.mp4", "7.1(wide)", "aac", ("-b:a", "500k")),
        ("eight.mov", "7.1(wide)", "alac", ()),
    ],
)
def test_of_eight_channels_each_in_its_plane_all_are_measured(
    tmp_path: Path, name: str, layout: str, codec: str, options: tuple[str, ...]
) -> None:
    eight = f"{PINK},pan={layout}|" + "|".join(f"c{number}=c0" for number in range(8))
    path = make_sound(tmp_path / name, eight, codec, *options, seconds=3, channels=8)
    (facts,) = heard(path)
    assert (facts.codec, facts.channels) == (codec.removeprefix("lib"), 8)
    assert facts.loudness == pytest.approx(loudness_by_ffmpeg(path), abs=0.2)
