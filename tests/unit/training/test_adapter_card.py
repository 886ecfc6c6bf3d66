"""An adapter's card says what its figures rest on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.adapter.card import write_adapter_card
from training.data.rated import Dropped, RatedClip, RatedSet


def metrics(*splits: str) -> dict[str, Any]:
    stage = {"epochs": 2}
    recipe = {"name": "ours", "seed": 0, "lora": {"rank": 4}, "stage1": stage, "stage2": stage}
    base = {"model": "nano", "motion": None, "face": None, "fingerprint": "f"}
    return {"recipe": recipe, "base": base, "version": "v", "parameters": 9, "commit": ""} | {s: {"srcc": 0.5} for s in splits}


@pytest.mark.parametrize(("splits", "is_scaled"), [(("val", "test"), True), (("test",), False)])
def test_it_claims_no_clips_that_were_not_there(splits: tuple[str, ...], is_scaled: bool, tmp_path: Path) -> None:
    write_adapter_card(tmp_path, metrics(*splits), "2 clips of 2 contents")
    card = (tmp_path / "README.md").read_text()
    assert ("`val`" in card) == is_scaled
    assert f"| SRCC |{' 0.500 |' * len(splits)}" in card
    assert f"| KRCC |{' - |' * len(splits)}" in card


def test_clips_that_cannot_be_sampled_are_dropped() -> None:
    clips = [RatedClip(Path(f"{number}.mp4"), 50.0, f"p{number}", "train") for number in range(3)]
    used = RatedSet(clips, [Dropped("table, line 9", "the file is missing")]).sampled([0, 2])
    assert used.clips == [clips[0], clips[2]]
    assert used.report().splitlines() == [
        "2 clips of 2 contents: 2 train, 0 val, 0 test",
        "dropped 1: the file is missing (table, line 9, ...)",
        "dropped 1: it cannot be sampled (1.mp4, ...)",
    ]
