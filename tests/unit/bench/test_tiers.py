"""The measurement of the tiers: what was measured is used again, and never with another model; sizes of made streams."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from scorer.spec import ModelId
from tests.bench import tiers
from tests.bench.tier_streams import Made, streams_of
from tests.bench.tiers import Measured, measured_streams
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

    monkeypatch.setattr(tiers, "measure", measure)
    monkeypatch.setattr(tiers, "make", make)
    monkeypatch.setattr(tiers, "load_engine", lambda model, device: None)
    monkeypatch.setattr(tiers, "find_model", lambda model: (Path(), ModelId("nano", "first")))
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
    monkeypatch.setattr(tiers, "find_model", lambda model: (Path(), ModelId("nano", "second")))
    assert measured_streams(tmp_path, [Path("a.mp4")], 0) == [], "scores of two models are never in one table"
    assert len(measured_streams(tmp_path, [Path("a.mp4")], 2)) == 2
    assert looks == of_first


def test_a_large_stream_has_a_name_of_its_own() -> None:
    streams = streams_of([Path("a.mp4"), Path("b.mp4")])
    assert len({stream.name for stream in streams}) == len(streams)
    assert {stream.height for stream in streams if not stream.event} == {360, 720}
