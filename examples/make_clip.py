"""Makes the demo's clip: 24 s of a person's face whose quality drops after 8 s and recovers after 16 s.

    python examples/make_clip.py examples/face.mp4

The picture is NASA's portrait of Eileen Collins (public domain; scikit-image ships it). A slow hand-held camera moves over
it. The middle third is scaled down to a width of 160 pixels, encoded with too few bits, and scaled up again, like a live
channel with a bad link. Needs the `test` extra.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import skimage.data

FPS = 25
SIZE = 448  # side of the picture, px; the portrait has 512, so that it is never enlarged
THIRD = 8 * FPS  # frames that are good, then bad, then good
GOP = 2 * FPS  # closed groups of pictures, so that the stream can be cut into segments of 2 s without encoding it again
BAD_WIDTH = 160
GOOD_CRF, BAD_CRF = 20, 40

FFMPEG = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", "-threads", "1"]
RAW = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-video_size", f"{SIZE}x{SIZE}", "-framerate", str(FPS)]


def camera(frame: int) -> np.ndarray:
    """Affine matrix (2, 3) from picture to portrait pixels at a frame: a slow drift, a slight zoom, a slight roll."""
    t = frame / FPS
    # The periods have no common multiple, so that no two seconds are alike.
    scale = 1.05 + 0.02 * math.sin(2 * math.pi * t / 11)  # portrait pixels per picture pixel, over 1: never enlarged
    roll = math.radians(0.5) * math.sin(2 * math.pi * t / 7.3)
    x = 256 + 9 * math.sin(2 * math.pi * t / 9.1) + 1.5 * math.sin(2 * math.pi * t / 1.7)
    y = 256 + 8 * math.sin(2 * math.pi * t / 6.7 + 1) + 1.0 * math.sin(2 * math.pi * t / 1.3)
    cos, sin, half = scale * math.cos(roll), scale * math.sin(roll), (SIZE - 1) / 2
    return np.array([[cos, -sin, x - cos * half + sin * half], [sin, cos, y - sin * half - cos * half]])


def frames() -> Iterator[bytes]:
    """The clean pictures, each as RGB bytes."""
    portrait = skimage.data.astronaut()
    for frame in range(3 * THIRD):
        picture = cv2.warpAffine(
            portrait,
            camera(frame),
            (SIZE, SIZE),
            flags=cv2.INTER_LANCZOS4 | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        yield picture.tobytes()


def through_bad_channel(clean: bytes, folder: Path) -> bytes:
    """The same pictures (RGB bytes), scaled down, encoded with too few bits, and scaled up again."""
    small = folder / "small.mp4"
    encode = [*RAW, "-i", "-", "-vf", f"scale={BAD_WIDTH}:-2:flags=area", "-c:v", "libx264", "-crf", str(BAD_CRF), str(small)]
    subprocess.run([*FFMPEG, *encode], input=clean, check=True)
    enlarge = ["-i", str(small), "-vf", f"scale={SIZE}:{SIZE}:flags=bilinear", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    return subprocess.run([*FFMPEG, *enlarge], stdout=subprocess.PIPE, check=True).stdout


def main(target: Path) -> None:
    """Write the clip to `target`."""
    pictures = list(frames())
    with tempfile.TemporaryDirectory() as folder:
        bad = through_bad_channel(b"".join(pictures[THIRD : 2 * THIRD]), Path(folder))
    x264 = f"keyint={GOP}:min-keyint={GOP}:scenecut=0:open-gop=0"
    encode = [*RAW, "-i", "-", "-c:v", "libx264", "-preset", "slow", "-crf", str(GOOD_CRF), "-x264-params", x264]
    encode += ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-map_metadata", "-1", "-fflags", "+bitexact", str(target)]
    data = b"".join(pictures[:THIRD]) + bad + b"".join(pictures[2 * THIRD :])
    subprocess.run([*FFMPEG, *encode], input=data, check=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
