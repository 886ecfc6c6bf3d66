"""A flawless reference in the training data is encoded, as all streams are, and nothing is seen of it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from training.data.ffmpeg import run_ffmpeg
from training.data.references import LOSSLESS
from training.data.sent import in_two_steps, send

FACE = Path("examples/face.mp4")


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sent") / "face.reference.mkv"
    run_ffmpeg("-i", FACE, "-t", 0.4, "-an", "-vf", "scale=320:-2", *LOSSLESS, path)
    return path


def pictures(path: Path) -> np.ndarray:
    with av.open(str(path)) as video:
        return np.stack([picture.to_ndarray(format="yuv420p") for picture in video.decode(video=0)]).astype(int)


def test_what_is_sent_is_lossy_and_nothing_is_seen_of_it(reference: Path) -> None:
    codecs = set()
    for seed in range(6):
        row = send(reference, 25.0, str(seed))
        assert row["path"] == "face.sent.mkv"
        sent = reference.with_name(row["path"])
        difference = np.abs(pictures(sent) - pictures(reference)).mean()
        assert 0 < difference < 3, "8-bit levels"
        assert row["vmaf"] > 88
        assert row["mos"] == pytest.approx(min(97, row["vmaf"]), abs=1e-3)
        assert row["ssim"] > 0.9
        assert row["psnr"] > 30
        with av.open(str(sent)) as video:
            codecs.add(video.streams.video[0].codec_context.name)
    assert len(codecs) > 1, "a model is not to learn one encoder's traces"


def test_a_seed_sends_the_same_again(reference: Path) -> None:
    first, again = (pictures(reference.with_name(send(reference, 25.0, "a")["path"])) for _ in range(2))
    np.testing.assert_array_equal(again, first)


def test_the_label_in_two_steps_is_its_own_product() -> None:
    row = in_two_steps({"path": "face.sent.mkv", "mos": 94.2})
    assert row["source_grade"] * row["relative"] / 100 == pytest.approx(row["mos"], abs=2e-3)
    assert row["path"] == "face.sent.mkv"
