"""Scenes with their damaged segments: resumable, labelled in two steps, people apart."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from PIL import Image
from skimage import data

from tests.support.processes import ROOT
from training.data.damage.catalogue import LADDERS
from training.data.labels import read_labels
from training.data.measures import parts_of_kind
from training.data.scenes.make import Chain, draw_chains, leads_of, make_scenes

FACE = ROOT / "examples" / "face.mp4"


@pytest.mark.slow
def test_scenes_are_labelled_in_two_steps_and_a_killed_run_goes_on(tmp_path: Path) -> None:
    still, out, sheet = tmp_path / "astronaut.png", tmp_path / "out", tmp_path / "sheet.jpg"
    cv2.imwrite(str(still), data.astronaut()[..., ::-1])

    def run() -> bytes:
        return make_scenes(out, [FACE, still], scenes=2, steps=5, seconds=0.4, jobs=1, seed=5, sheet=sheet).read_bytes()

    before = run()
    rows = read_labels(out / "labels.csv")
    references = [row for row in rows if row["kind"] == "reference"]
    assert [row["content"] for row in references] == ["scene-00000", "scene-00001"]
    assert [row["path"].name for row in references] == ["scene-00000.sent.mkv", "scene-00001.sent.mkv"], "none is lossless"
    assert {row["person"] for row in rows} == {"astronaut+face"}
    assert all(row["absolute"] and row["path"].exists() and row["scene"] for row in rows)
    twice = [row for row in rows if "@" in row["kind"]]
    assert len(twice) == 4
    by_place = {(row["content"], row["kind"], row["step"]): row for row in rows}
    for row in twice:
        source, step, _ = parts_of_kind(row["kind"])
        # The source is a segment of its own, and its label is the grade.
        assert by_place[row["content"], source, step]["mos"] == row["source_grade"]
        assert row["mos"] <= row["source_grade"] + 1.5
    # After a kill only what is missing is made, and the labels are the same.
    written = rows[1]["path"].stat().st_mtime_ns
    rows[2]["path"].unlink()
    rows[2]["path"].with_suffix(".json").unlink()
    (out / "labels.csv").unlink()
    assert run() == before
    assert rows[1]["path"].stat().st_mtime_ns == written
    assert Image.open(sheet).size[0] == 1600
    with pytest.raises(ValueError, match="another seed"):
        make_scenes(out, [FACE, still], scenes=2, steps=5, seconds=0.4, jobs=1, seed=6)


def test_each_person_of_a_cast_leads_in_turn_and_only_clips_where_nothing_is_added() -> None:
    clip, other, still, last = (Path(name) for name in ("a.mp4", "b.mp4", "c.jpg", "d.png"))
    casts = [(still, clip, other), (last,)]
    assert leads_of(casts, filmed_only=False) == [(still, clip, other), (last,), (clip, other, still), (other, still, clip)]
    assert leads_of(casts, filmed_only=True) == [(clip, other, still), (other, still, clip)]
    assert leads_of([(still, last)], filmed_only=True) == [(still, last), (last, still)]


def test_chains_depend_on_the_seed_and_name_sources_and_deliveries() -> None:
    chains = draw_chains(1, "scene-00000", 20)
    assert chains == draw_chains(1, "scene-00000", 20)
    assert chains != draw_chains(2, "scene-00000", 20)
    assert sum(bool(chain.source and chain.delivery) for chain in chains) in (7, 8)
    for chain in chains:
        assert not chain.source or LADDERS[chain.source[0]].stage == "source"
        assert not chain.delivery or LADDERS[chain.delivery[0]].stage == "delivery"
    assert Chain(("blur", 2), ("x264", 3)).kind == "x264@blur-2"
    assert draw_chains(1, "scene-00000", 0) == []


def test_chains_are_of_the_wanted_kinds() -> None:
    coded = draw_chains(1, "scene-00000", 8, ("x264", "mpeg2"))
    assert len(coded) == 8
    assert {chain.source for chain in coded} == {None}
    assert {chain.kind for chain in coded} == {"x264", "mpeg2"}
    assert any(chain.kind == "x264@blur-0" for seed in range(20) for chain in draw_chains(seed, "s", 9, ("blur", "x264")))


def test_many_steps_mean_every_step() -> None:
    kinds = {(chain.kind, chain.step) for chain in draw_chains(1, "s", 10_000)}
    assert {(ladder.name, step) for ladder in LADDERS.values() for step in range(ladder.steps)} <= kinds
