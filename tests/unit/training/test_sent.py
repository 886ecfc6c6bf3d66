"""A flawless reference in the training data is encoded, as all streams are, and nothing is seen of it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from training.data.ffmpeg import run_ffmpeg
from training.data.references import LOSSLESS
from training.data.sent import absolute_row_of, row_of, send
from training.data.synth import measure

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
        sent = send(reference, str(seed))
        assert sent.name == "face.sent.mkv"
        difference = np.abs(pictures(sent) - pictures(reference)).mean()
        assert 0 < difference < 3, "8-bit levels"
        measured = measure(sent, reference)
        assert measured["vmaf"] > 88
        assert row_of(sent, measured)["mos"] == pytest.approx(min(97, measured["vmaf"]), abs=1e-3)
        with av.open(str(sent)) as video:
            codecs.add(video.streams.video[0].codec_context.name)
    assert len(codecs) > 1, "a model is not to learn one encoder's traces"


def test_a_seed_sends_the_same_again(reference: Path) -> None:
    first = pictures(send(reference, "a"))
    np.testing.assert_array_equal(pictures(send(reference, "a")), first)


def test_the_label_in_two_steps_is_its_own_product() -> None:
    row = absolute_row_of(Path("face.sent.mkv"), {"vmaf": 94.2, "ssim": 0.99, "psnr": 45.0, "vmaf_frames": []})
    assert row["source_grade"] * row["relative"] / 100 == pytest.approx(row["mos"], abs=2e-3)
    assert "vmaf_frames" not in row
