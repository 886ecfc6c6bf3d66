"""Pictures that are coded for others to refer to alone, and never shown: VP8 has a packet for each of them."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from scorer.sampling.glance import headers_only
from scorer.sampling.sampler import sample
from scorer.spec import SPECIFICATIONS
from tests.support.media import ffmpeg

SECONDS = 3
HIDING = ("-c:v", "libvpx", "-b:v", "300k", "-auto-alt-ref", "1", "-lag-in-frames", "25", "-deadline", "good", "-cpu-used", "4")


@pytest.fixture(scope="module")
def hiding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vp8")
    for number in (1, 2):  # libvpx hides pictures in its second pass alone
        two = ("-pass", str(number), "-passlogfile", folder / "log")
        ffmpeg("-f", "lavfi", "-i", "mandelbrot=s=160x96:r=25", "-t", str(SECONDS), *HIDING, *two, folder / "vp8.webm")
    return folder / "vp8.webm"


@pytest.mark.parametrize("looks", ["standard", "middle"])
@pytest.mark.parametrize("name", ["vp8.webm", "vp8.ivf"])
def test_hidden_pictures_count_by_their_bytes_alone(hiding: Path, name: str, looks: str) -> None:
    path = hiding.with_name(name)
    if not path.exists():
        ffmpeg("-i", hiding, "-c", "copy", path)
    with av.open(path) as container:
        sizes = [packet.size for packet in container.demux(video=0) if packet.size]
    assert len(sizes) > SECONDS * 25
    ((_, clip),) = sample(path, SPECIFICATIONS[looks])
    assert clip.bitstream is not None
    bitrate = sum(sizes) * 8 / SECONDS
    assert (clip.info.frames, clip.info.fps) == (SECONDS * 25, pytest.approx(25, abs=0.1))
    for bitstream in (clip.bitstream, headers_only(path).bitstream):
        assert (bitstream.fps, bitstream.bitrate) == pytest.approx((25, bitrate), rel=0.01)
