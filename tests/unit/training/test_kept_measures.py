"""What is measured and sampled of labelled clips is kept beside them, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from scorer.load import LoadedModel
from scorer.spec import SampledClip, SamplerSpec
from tests.support.media import write_frames
from training.data.labels import read_labels
from training.data.samples import sample_all
from training.evaluation.baselines import measure_all
from training.evaluation.benchmark import _sampled
from training.evaluation.judged import Rows
from training.evaluation.report import evaluate


def labelled(folder: Path, count: int) -> Path:
    """A labels file of that many clips of noise."""
    rng = np.random.default_rng(0)
    for number in range(count):
        write_frames(folder / f"{number}.mkv", [rng.integers(0, 255, (256, 256, 3), np.uint8)] * 25, 25.0)
    rows = [f"{number}.mkv,c{number},x264,{number},50" for number in range(count)]
    (folder / "labels.csv").write_text("\n".join(["path,content,kind,step,mos", *rows]) + "\n")
    return folder / "labels.csv"


def test_a_clip_that_is_made_again_is_sampled_again(tmp_path: Path) -> None:
    labels = labelled(tmp_path, 2)
    rows, clip = read_labels(labels), tmp_path / "1.mkv"
    whole = clip.read_bytes()
    clip.write_bytes(bytes(len(whole)))
    with pytest.raises(ValueError, match=r"clips that cannot be sampled: \S*1\.mkv; .*make it again"):
        _sampled(tmp_path, rows, labels, SamplerSpec(), 1)
    clip.write_bytes(whole)
    assert len(_sampled(tmp_path, rows, labels, SamplerSpec(), 1)) == 2


def test_all_clips_that_cannot_be_sampled_are_named_up_to_ten(tmp_path: Path) -> None:
    labels = labelled(tmp_path, 1)
    rows = read_labels(labels)
    for count, named in ((2, r"\S*lost0\.mkv, \S*lost1\.mkv"), (12, r"(\S*lost\d\.mkv, ){9}\S*lost9\.mkv and 2 more")):
        lost = [{**rows[0], "path": Path(rows[0]["path"]).with_name(f"lost{number}.mkv")} for number in range(count)]
        with pytest.raises(ValueError, match=rf"labels\.csv: clips that cannot be sampled: {named}; .*make it again"):
            _sampled(tmp_path, [*rows, *lost], labels, SamplerSpec(), 1)


def test_measures_that_were_cut_off_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = labelled(tmp_path, 1)
    rows = read_labels(labels)

    def killed(file: Any, **_: Any) -> None:
        if isinstance(file, Path):
            file.write_bytes(b"half")
        else:
            file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", killed)
        with pytest.raises(KeyboardInterrupt):
            measure_all(rows, labels, 1)
    measured = measure_all(rows, labels, 1)
    assert measured.place.tolist() == [0]
    again = measure_all(rows, labels, 1)
    assert np.array_equal(again.statistics, measured.statistics)


def test_a_clip_that_was_missing_is_measured_when_it_is_there(tmp_path: Path) -> None:
    labels = labelled(tmp_path, 2)
    rows = read_labels(labels)
    (tmp_path / "1.mkv").rename(tmp_path / "away.mkv")
    assert measure_all(rows, labels, 1).place.tolist() == [0]
    (tmp_path / "away.mkv").rename(tmp_path / "1.mkv")
    assert measure_all(rows, labels, 1).place.tolist() == [0, 1]
    assert len(list(tmp_path.glob("*.npz"))) == 1


def test_a_clip_that_cannot_be_measured_does_not_keep_the_others_from_being_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels, asked = labelled(tmp_path, 3), list[str]()
    rows = read_labels(labels)

    def sample(rows: Rows, *_: object) -> Iterator[tuple[int, SampledClip]]:
        asked.extend(Path(row["path"]).name for row in rows)
        return sample_all(rows, SamplerSpec(), 1)

    monkeypatch.setattr("training.evaluation.baselines.sample_all", sample)
    (tmp_path / "1.mkv").write_bytes(b"no video")
    first = measure_all(rows, labels, 1)
    second = measure_all(rows, labels, 1)
    assert asked == ["0.mkv", "1.mkv", "2.mkv", "1.mkv"]
    assert first.place.tolist() == second.place.tolist() == [0, 2]
    assert np.array_equal(first.statistics, second.statistics)


def test_labels_without_a_clip_that_can_be_sampled_are_named(tmp_path: Path) -> None:
    labels = labelled(tmp_path, 1)
    measure_all(read_labels(labels), labels, 1)
    (tmp_path / "0.mkv").unlink()
    sees = cast(LoadedModel, SimpleNamespace(spec=SamplerSpec()))
    with pytest.raises(ValueError, match=r"labels\.csv: none of the 1 clips can be sampled"):
        evaluate(sees, labels)
    next(tmp_path.glob("*.npz")).unlink()
    with pytest.raises(ValueError, match=r"labels\.csv: none of the 1 clips can be sampled"):
        measure_all(read_labels(labels), labels, 1)
