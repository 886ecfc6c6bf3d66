"""The measurement of the tiers: what was measured is used again, and never with another model; sizes of made streams."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from scorer.spec import ModelId
from tests.bench import tier_looks, tier_streams
from tests.bench.tier_looks import Measured, measured_streams
from tests.bench.tier_streams import CONTENT, DAMAGE, STEADY, Made, make, streams_of
from tests.support.glances import make_glance


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Which segments were looked at, by looks that take no time; the shipped model is 'nano@first'."""
    paths: list[Path] = []

    def measure(path: Path, seconds: float, engine: object) -> Measured:
        paths.append(path)
        bitstream = asdict(make_glance().bitstream)
        return Measured(50.0, 5.0, 0.0, 0.0, bitstream, None, 0.0, full_s=0.1, headers_s=0.01, keyframe_s=0.02, decode_s=0.1)

    def make(stream: Made, other: Path, folder: Path) -> list[Path]:
        return [folder / stream.name / f"{number}.ts" for number in range(2 * stream.count)]

    monkeypatch.setattr(tier_streams, "lines_of", lambda source: 720 if source.stem.startswith("large") else 360)
    monkeypatch.setattr(tier_looks, "measure", measure)
    monkeypatch.setattr(tier_looks, "make", make)
    monkeypatch.setattr(tier_looks, "load_engine", lambda model, device: None)
    monkeypatch.setattr(tier_looks, "find_model", lambda model: (Path(), ModelId("nano", "first")))
    return paths


def test_what_was_measured_is_not_measured_again(looks: list[Path], tmp_path: Path) -> None:
    first = measured_streams(tmp_path, [Path("a.mp4")], 2)
    looks.clear()
    again = measured_streams(tmp_path, [Path("a.mp4")], 0)
    assert looks == []
    assert again == first
    assert len(again) == 2


def test_scores_of_another_model_are_measured_again(looks: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured_streams(tmp_path, [Path("a.mp4")], 2)
    of_first = list(looks)
    looks.clear()
    monkeypatch.setattr(tier_looks, "find_model", lambda model: (Path(), ModelId("nano", "second")))
    assert measured_streams(tmp_path, [Path("a.mp4")], 0) == [], "scores of two models are never in one table"
    assert len(measured_streams(tmp_path, [Path("a.mp4")], 2)) == 2
    assert looks == of_first


def test_large_streams_are_of_large_sources(looks: list[Path]) -> None:
    streams = streams_of([Path("a.mp4"), Path("large.mp4")])
    assert len({stream.name for stream in streams}) == len(streams)
    assert {(stream.source.stem, stream.height) for stream in streams} == {("a", 360), ("large", 360), ("large", 720)}
    for height in (360, 720):
        of_height = [stream for stream in streams if stream.height == height]
        assert {stream.encoder for stream in of_height if not stream.event} == set(STEADY)
        assert {stream.event for stream in of_height} >= {*DAMAGE, *CONTENT, "", "ad"}


def test_a_stream_whose_making_was_stopped_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Made(Path("a.mp4"), count=1)

    def stopped(stream: Made, other: Path, folder: Path) -> None:
        (folder / "a000.ts").touch()
        raise KeyboardInterrupt

    def encoded(stream: Made, other: Path, folder: Path) -> None:
        assert list(folder.iterdir()) == []
        for number in range(2):
            (folder / f"a00{number}.ts").touch()

    monkeypatch.setattr(tier_streams, "_encode_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        make(stream, stream.source, tmp_path)
    monkeypatch.setattr(tier_streams, "_encode_all", encoded)
    assert [path.name for path in make(stream, stream.source, tmp_path)] == ["a000.ts", "a001.ts"]
