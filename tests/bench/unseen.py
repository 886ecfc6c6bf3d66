"""Damage that no model was trained on: does the score fall with each step, and how far?

    python -m tests.bench.unseen FOLDER --people CLIPS [--model MODEL] [--kind NAME ...]

What `fvq synth` makes is what models learn; streams break in other ways, too. Here are kinds that are nobody's ladder, in five
steps from mild to severe, made of people on whom no model was trained. Nothing of this may be trained on: a kind that a model
does not see gets a ladder of its own in `training/data/damage`, made by other code.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from scorer.load import load_engine
from tests.bench.arguments import parser_of
from training.data.damage.pictures import Picture, multiply_light, rewrite, shape_of, show
from training.data.ffmpeg import run_ffmpeg
from training.data.progress import Progress
from training.data.references import find_sources, make_reference
from training.evaluation.agreement import srcc
from training.evaluation.report import score_rows

SECONDS = 2.0
UNDAMAGED = "reference"

SEEN, DROP = 0.9, 10.0
"""A kind is seen where so many of its steps are in order, and its last step costs so many points."""

Amount = Any
Change = Callable[[Picture, Amount, float], Picture]
"""(picture, the step's amount, its time in seconds) -> the damaged picture."""

CHANGES: dict[str, tuple[tuple[Amount, ...], Change]] = {}
"""Kind -> the amounts of its five steps, and what is done to each picture."""


def kind(name: str, *amounts: Amount) -> Callable[[Change], Change]:
    """Register a function as a kind of damage."""

    def register(change: Change) -> Change:
        CHANGES[name] = amounts, change
        return change

    return register


def dice(time: float) -> np.random.Generator:
    """The same at the same time of each clip."""
    return np.random.default_rng(round(1000 * time))


def clipped(picture: Any) -> Picture:
    """Levels as bytes."""
    return np.clip(np.asarray(picture) + 0.5, 0, 255).astype(np.uint8)


def resized(picture: Any, width: int, height: int, how: int = cv2.INTER_LINEAR) -> Any:
    """The picture, or planes of it, at another size, px."""
    return cv2.resize(picture, (max(1, width), max(1, height)), interpolation=how)


def in_chroma(picture: Picture, change: Callable[[Any], Any]) -> Picture:
    """The picture with its two planes of colour changed."""
    planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb).astype(np.float32)
    planes[..., 1:] = change(planes[..., 1:])
    return cv2.cvtColor(clipped(planes), cv2.COLOR_YCrCb2BGR).astype(np.uint8)


@kind("defocused disc", 1, 1.8, 3, 5, 8)
def _disc(picture: Picture, radius: float, time: float) -> Picture:
    side = 2 * int(np.ceil(radius)) + 1
    y, x = np.mgrid[:side, :side] - side // 2
    kernel = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1)
    return cv2.filter2D(picture, -1, kernel / kernel.sum()).astype(np.uint8)


@kind("shaken camera", 3, 5, 9, 15, 25)
def _shaken(picture: Picture, length: int, time: float) -> Picture:
    return cv2.filter2D(picture, -1, np.eye(length) / length).astype(np.uint8)


@kind("median filter", 3, 5, 7, 11, 17)
def _median(picture: Picture, side: int, time: float) -> Picture:
    return cv2.medianBlur(picture, side).astype(np.uint8)


@kind("mosaic", 2, 3, 4, 6, 9)
def _mosaic(picture: Picture, side: int, time: float) -> Picture:
    height, width = picture.shape[:2]
    small = resized(picture, width // side, height // side, cv2.INTER_AREA)
    return np.asarray(resized(small, width, height, cv2.INTER_NEAREST), np.uint8)


@kind("half of the width", 1.5, 2.2, 3.2, 5, 8)
def _narrow(picture: Picture, ratio: float, time: float) -> Picture:
    height, width = picture.shape[:2]
    small = resized(picture, round(width / ratio), height, cv2.INTER_AREA)
    return np.asarray(resized(small, width, height, cv2.INTER_CUBIC), np.uint8)


@kind("one field", 2, 3, 5, 8, 12)
def _field(picture: Picture, lines: int, time: float) -> Picture:
    return np.asarray(resized(picture[::lines], picture.shape[1], picture.shape[0]), np.uint8)


@kind("JPEG", 60, 30, 15, 8, 3)
def _jpeg(picture: Picture, quality: int, time: float) -> Picture:
    coded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


@kind("JPEG 2000", 120, 50, 25, 12, 6)
def _wavelets(picture: Picture, size: int, time: float) -> Picture:
    coded = cv2.imencode(".jp2", picture, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, size])[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)


@kind("salt and pepper", 0.002, 0.008, 0.02, 0.06, 0.15)
def _salt(picture: Picture, share: float, time: float) -> Picture:
    drawn, spoiled = dice(time).random(picture.shape[:2]), picture.copy()
    spoiled[drawn < share / 2], spoiled[drawn > 1 - share / 2] = 0, 255
    return spoiled


@kind("speckle", 0.06, 0.12, 0.2, 0.35, 0.6)
def _speckle(picture: Picture, sigma: float, time: float) -> Picture:
    return clipped(picture * (1 + sigma * dice(time).standard_normal((*picture.shape[:2], 1))))


@kind("noise in lines", 4, 8, 15, 25, 40)
def _lines(picture: Picture, sigma: float, time: float) -> Picture:
    return clipped(picture + sigma * dice(time).standard_normal((len(picture), 1, 1)))


@kind("lost lines", 0.01, 0.03, 0.07, 0.15, 0.3)
def _dropouts(picture: Picture, share: float, time: float) -> Picture:
    rng, spoiled = dice(time), picture.copy()
    for row in np.flatnonzero(rng.random(len(picture)) < share):
        spoiled[row] = np.roll(picture[row], int(rng.integers(-25, 25)), axis=0) // 2 + 110
    return spoiled


@kind("noise in colour", 6, 12, 22, 36, 60)
def _colour_noise(picture: Picture, sigma: float, time: float) -> Picture:
    height, width = picture.shape[:2]
    noise = sigma * dice(time).standard_normal((height // 2 + 1, width // 2 + 1, 2))
    return in_chroma(picture, lambda chroma: chroma + resized(noise, width, height))


@kind("shifted colour", 2, 4, 7, 12, 20)
def _shifted(picture: Picture, pixels: int, time: float) -> Picture:
    return in_chroma(picture, lambda chroma: np.roll(chroma, pixels, axis=1))


@kind("coarse colour", 3, 6, 10, 18, 30)
def _coarse(picture: Picture, side: int, time: float) -> Picture:
    height, width = picture.shape[:2]
    return in_chroma(
        picture, lambda chroma: resized(resized(chroma, width // side, height // side, cv2.INTER_AREA), width, height)
    )


@kind("colour fringes", 0.003, 0.007, 0.014, 0.025, 0.04)
def _fringes(picture: Picture, share: float, time: float) -> Picture:
    height, width = picture.shape[:2]
    spoiled = picture.copy()
    for plane, scale in ((0, 1 - share), (2, 1 + share)):
        larger = cv2.getRotationMatrix2D((width / 2, height / 2), 0, scale)
        spoiled[..., plane] = cv2.warpAffine(picture[..., plane], larger, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return spoiled


@kind("double image", 0.1, 0.18, 0.28, 0.38, 0.5)
def _ghost(picture: Picture, share: float, time: float) -> Picture:
    return clipped((1 - share) * picture + share * np.roll(picture, picture.shape[1] // 25, axis=1))


@kind("few levels", 48, 24, 12, 7, 4)
def _levels(picture: Picture, levels: int, time: float) -> Picture:
    return clipped(picture.astype(np.int64) * levels // 256 * (255 / (levels - 1)))


@kind("fogged lens", 0.15, 0.3, 0.45, 0.6, 0.75)
def _fog(picture: Picture, share: float, time: float) -> Picture:
    return clipped((1 - share) * picture + share * 190)


@kind("gamma", 1.25, 1.6, 2.1, 2.8, 4)
def _gamma(picture: Picture, gamma: float, time: float) -> Picture:
    return clipped(255 * (picture / 255) ** gamma)


@kind("flickering light", 0.08, 0.18, 0.32, 0.56, 0.9)
def _flicker(picture: Picture, stops: float, time: float) -> Picture:
    return multiply_light(picture, 2 ** (stops * dice(time).uniform(-1, 1)))


@kind("flashes", 1, 2, 4, 7, 12)
def _flashes(picture: Picture, pictures: int, time: float) -> Picture:
    turn = np.random.default_rng(5).permutation(50)[round(25 * time) % 50]
    return np.full_like(picture, 235) if turn < pictures else picture


@kind("rolling shutter", 0.6, 1.2, 2.2, 4, 7)
def _wobble(picture: Picture, pixels: float, time: float) -> Picture:
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    moved = np.asarray(x + pixels * np.sin(2 * np.pi * (2.5 * y / height + 6 * time)), np.float32)
    return cv2.remap(picture, moved, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)


CODECS: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    **{
        name: (ending, tuple(("-c:v", codec, "-q:v", str(quantiser), "-pix_fmt", layout) for quantiser in (4, 9, 16, 24, 31)))
        for name, codec, ending, layout in (
            ("MPEG-1", "mpeg1video", "mpg", "yuv420p"),
            ("H.263 of Flash", "flv", "flv", "yuv420p"),
            ("WMV 8", "wmv2", "avi", "yuv420p"),
            ("Motion JPEG", "mjpeg", "avi", "yuvj420p"),
        )
    },
    "VP8": (
        "webm",
        tuple(
            ("-c:v", "libvpx", "-deadline", "realtime", "-b:v", "2M", "-qmin", str(quantiser), "-qmax", str(quantiser))
            for quantiser in (20, 34, 46, 56, 63)
        ),
    ),
}
"""Kind -> the ending of its container, and ffmpeg's arguments of each step."""

KINDS = (*CHANGES, *CODECS)
STEPS = 5


def make(name: str, step: int, reference: Path, clip: Path) -> None:
    """Write the clip of that kind and step; one that is being made when this is killed is made again."""
    part = clip.with_suffix(".part.mkv")
    if name in CHANGES:
        amounts, change = CHANGES[name]
        rewrite(reference, part, lambda picture, time: change(picture, amounts[step], time))
    else:
        ending, steps = CODECS[name]
        coded = clip.with_suffix(f".coded.{ending}")
        run_ffmpeg("-i", reference, *steps[step], coded)
        show(coded, shape_of(reference), part)
        coded.unlink()
    part.rename(clip)


def clips_of(folder: Path, source: Path, names: list[str]) -> Iterator[dict[str, Any]]:
    """A row for each clip of a person, the undamaged one first; what is not there is made."""
    reference = folder / f"{source.stem}.reference.mkv"
    if not reference.exists():
        make_reference(source, reference, SECONDS, 0, source.stem)
    yield {"path": reference, "person": source.stem, "kind": UNDAMAGED, "step": 0}
    for name in names:
        for step in range(STEPS):
            clip = folder / f"{source.stem}.{name.replace(' ', '-')}-{step}.mkv"
            if not clip.exists():
                make(name, step, reference, clip)
            yield {"path": clip, "person": source.stem, "kind": name, "step": step}


def line(name: str, ladders: NDArray[np.float64]) -> str:
    """The row of a kind. ladders: (people, 1 + steps) scores, of the undamaged clip and of each step."""
    in_order = float((np.diff(ladders[:, 1:]) < 0).mean())
    worst = min(srcc(-np.arange(STEPS), ladder[1:]) for ladder in ladders)
    means = ladders.mean(axis=0)
    is_seen = in_order >= SEEN and means[0] - means[-1] >= DROP
    cells = [name, f"{in_order:.2f}", f"{worst:.2f}", " ".join(f"{mean:.0f}" for mean in means), "" if is_seen else "not seen"]
    return f"| {' | '.join(cells)} |"


def main(folder: Path, people: list[Path], model: str, names: list[str]) -> None:
    """Make what is missing, score it, and print a row for each kind."""
    engine = load_engine(model)
    rows = [row for source in Progress(find_sources(people), "people") for row in clips_of(folder, source, names)]
    score = {
        (rows[place]["person"], rows[place]["kind"], rows[place]["step"]): answer.score
        for place, answer in score_rows(engine, rows, jobs=1)
    }
    shown = sorted({row["person"] for row in rows})
    print("| kind | steps in order | order, worst person | undamaged, steps 1 to 5 | |\n|---|---|---|---|---|")
    for name in names:
        steps = [(UNDAMAGED, 0), *((name, step) for step in range(STEPS))]
        print(line(name, np.array([[score[person, *step] for step in steps] for person in shown])))


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("folder", type=Path, help="where the clips are kept")
    parser.add_argument("--people", type=Path, nargs="+", required=True, help="clean clips or stills, or folders of them")
    parser.add_argument("--model", default="nano", help="as in FVQ_MODEL")
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=list(KINDS), metavar="NAME", help="some kinds only")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    try:
        main(given.folder, given.people, given.model, given.kind)
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"unseen: {error}")
