"""What faces and mattes cost against MediaPipe itself, on the same pictures in one run: `python -m tests.bench.detectors`.

CPU milliseconds of a picture, user and system, the least of some hundred: another program on the machine changes them by some per
cent, and both alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2

from scorer.sampling.decode import open_video
from scorer.sampling.detectors import Detectors
from tests.support.processes import ROOT
from tests.support.reference_detectors import MediaPipe

ROUNDS, TIMES = 6, 40
SIZES = ((640, 360), (1280, 720), (1920, 1080))


def main() -> None:
    """Measure, and print the table in Markdown."""
    cv2.setNumThreads(1)  # as in a sampling child
    with open_video(ROOT / "examples/face.mp4") as video:
        _, frame, *_ = next(iter(video.course(2).frames(2)))
        picture = frame.to_ndarray(format="rgb24")
    detectors = Detectors()
    print("| picture | faces, ms | MediaPipe's | matte, ms | MediaPipe's |\n|---|---|---|---|---|")
    with MediaPipe() as mediapipe:
        for size in SIZES:
            scaled = cv2.resize(picture, size)
            looks = (detectors.faces.find, mediapipe.faces, detectors.person.mask, mediapipe.mask)
            costs = [min(each) for each in zip(*(rounds(looks, scaled) for _ in range(ROUNDS)), strict=True)]
            print(f"| {size[0]} x {size[1]} | {' | '.join(f'{cost:.2f}' for cost in costs)} |")


def rounds(looks: tuple[Callable[[cv2.typing.MatLike], object], ...], picture: cv2.typing.MatLike) -> list[float]:
    """CPU ms of each look: the least of `TIMES`, one look after the other."""
    return [min(cpu_ms(look, picture) for _ in range(TIMES)) for look in looks]


def cpu_ms(look: Callable[[cv2.typing.MatLike], object], picture: cv2.typing.MatLike) -> float:
    """CPU ms of one look."""
    before = time.process_time()
    look(picture)
    return (time.process_time() - before) * 1000


if __name__ == "__main__":
    main()
