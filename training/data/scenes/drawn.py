"""Drawn pictures without people: rooms, nights, slides, code, landscapes, games. Drawn at their size, they are sharp."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.data.scenes.material import Floats, Pixels
from training.data.scenes.shot import Rng, Set, Shot, Size

WORDS = (
    *("quarterly", "review", "live", "now", "camera", "light", "sound", "people", "team", "thank", "you", "welcome", "agenda"),
    *("question", "answer", "design", "budget", "plan", "results", "next", "steps", "morning", "evening", "news", "music"),
    *("studio", "stage", "city", "weather", "report", "update", "release", "status", "owner", "risk", "goal", "chapter", "part"),
)

Colour = tuple[int, int, int]


def colour(rng: Rng, dark: int = 30, light: int = 225) -> Colour:
    """A colour whose channels are in that range."""
    r, g, b = (int(value) for value in rng.integers(dark, light, 3))
    return r, g, b


def phrase(rng: Rng, words: int) -> str:
    """Words that mean nothing."""
    return " ".join(str(word) for word in rng.choice(WORDS, words)).capitalize()


@cache
def font(size: int) -> Any:
    """Pillow's own font, px."""
    return ImageFont.load_default(size=max(7, size))


class Sheet:
    """A picture to draw on at twice its size, which is halved at the end, so that edges are smooth."""

    def __init__(self, size: Size, ground: Colour) -> None:
        self.size = size
        self._image = Image.new("RGB", (2 * size[0], 2 * size[1]), ground)
        self._draw = ImageDraw.Draw(self._image)

    def box(self, x: float, y: float, w: float, h: float, fill: Colour) -> None:
        """A rectangle, in px of the finished picture."""
        if w > 0 and h > 0:
            self._draw.rectangle((2 * x, 2 * y, 2 * (x + w), 2 * (y + h)), fill)

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        """A filled circle."""
        self._draw.ellipse((2 * (x - radius), 2 * (y - radius), 2 * (x + radius), 2 * (y + radius)), fill)

    def text(self, x: float, y: float, words: str, height: float, fill: Colour) -> None:
        """Text whose letters are `height` px high."""
        self._draw.text((2 * x, 2 * y), words, fill, font(round(2 * height)))

    def pixels(self) -> Pixels:
        """The finished picture, (H, W, 3) uint8."""
        return np.asarray(self._image.resize(self.size, Image.Resampling.BOX), np.uint8)


def texture(size: Size, rng: Rng, fall: float = 1.0) -> Floats:
    """(H, W), about -1 to 1: noise with details of all sizes, as photographs have. fall: of the amplitude by frequency."""
    width, height = size
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((height, width))) / np.maximum(np.hypot(rows, columns), 1 / max(size)) ** fall
    plain = np.fft.irfft2(spectrum, (height, width))
    return np.asarray((plain - plain.mean()) / (3 * plain.std() + 1e-6), np.float32)


def _wall(size: Size, rng: Rng) -> Floats:
    """A plastered wall with a picture on it."""
    width, height = size
    tone = np.array(colour(rng, 90, 225), np.float32)
    sheet = Sheet(size, colour(rng, 90, 225))
    sheet.box(0, 0, width, height, (int(tone[0]), int(tone[1]), int(tone[2])))
    for _ in range(int(rng.integers(1, 4))):
        x, y, w, h = rng.uniform(0, 0.8) * width, rng.uniform(0.05, 0.4) * height, 0.18 * width, rng.uniform(0.2, 0.35) * height
        sheet.box(x, y, w, h, (40, 34, 30))
        sheet.box(x + 4, y + 4, w - 8, h - 8, (236, 232, 224))
        for _ in range(5):
            sheet.disc(x + rng.uniform(0.3, 0.7) * w, y + rng.uniform(0.3, 0.7) * h, 0.12 * w, colour(rng))
    return sheet.pixels() + 7 * texture(size, rng)[..., None]


def _shelf(size: Size, rng: Rng) -> Floats:
    """A shelf full of books."""
    width, height = size
    sheet = Sheet(size, (70, 50, 36))
    row = height / rng.integers(3, 6)
    y = 0.0
    while y < height:
        x = 2.0
        while x < width:
            w, h = row * rng.uniform(0.08, 0.2), row * rng.uniform(0.6, 0.9)
            tone = colour(rng, 25, 215)
            sheet.box(x, y + row - h - 3, w, h, tone)
            sheet.box(x + w * 0.2, y + row - h * 0.8, w * 0.6, max(1.0, h * 0.08), tuple(min(255, c + 60) for c in tone))  # type: ignore[arg-type]
            x += w + rng.choice([0.5, 0.5, 1.0, 6.0])
        sheet.box(0, y + row - 3, width, 4, (122, 92, 64))
        y += row
    return sheet.pixels() + 5 * texture(size, rng)[..., None]


def _night(size: Size, rng: Rng) -> Floats:
    """Discs of light out of focus: a city at night behind glass."""
    width, height = size
    top, low = np.array(colour(rng, 4, 30), np.float32), np.array(colour(rng, 20, 70), np.float32)
    ground = top + (low - top) * np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    picture = np.broadcast_to(ground, (height, width, 3)).copy()
    for _ in range(int(rng.integers(25, 60))):
        layer = np.zeros((height, width), np.uint8)
        centre = int(rng.uniform(0, width) * 16), int(rng.uniform(0.2, 0.95) * height * 16)
        cv2.circle(layer, centre, int(rng.uniform(0.01, 0.06) * height * 16), 255, -1, cv2.LINE_AA, 4)
        picture += (layer[..., None] / 255 * np.array(colour(rng, 20, 150)) * rng.uniform(0.3, 0.8)).astype(np.float32)
    return picture


def _window(size: Size, rng: Rng) -> Floats:
    """A bright window in a room: sky, leaves, a frame."""
    width, height = size
    sheet = Sheet(size, colour(rng, 60, 130))
    x, y, w, h = 0.1 * width, -2, 0.8 * width, 0.85 * height
    sheet.box(x, y, w, h, (232, 240, 250))
    for _ in range(160):
        green = int(rng.integers(110, 190))
        sheet.disc(
            x + rng.uniform(0, 1) * w, rng.uniform(0.35, 0.85) * h, rng.uniform(0.008, 0.03) * h, (green - 40, green, green - 70)
        )
    for share in (0.0, 0.5, 1.0):
        sheet.box(x + share * w - 4, y, 8, h, (246, 244, 240))
    sheet.box(x - 6, y + h - 6, w + 12, 12, (246, 244, 240))
    return sheet.pixels() + 4 * texture(size, rng)[..., None]


def _planks(size: Size, rng: Rng) -> Floats:
    """A wooden wall."""
    width, height = size
    tone = np.array([150, 108, 70], np.float32) * rng.uniform(0.6, 1.3)
    grain = cv2.resize(texture((width, max(8, height // 12)), rng), size, interpolation=cv2.INTER_CUBIC)
    planks = int(rng.integers(4, 9))
    edge = np.arange(height) % max(2, height // planks) < 2
    shade = rng.uniform(0.8, 1.15, planks + 2).astype(np.float32)[np.arange(height) // max(2, height // planks) % (planks + 2)]
    picture = (tone + 16 * grain[..., None] + 8 * texture(size, rng)[..., None]) * shade[:, None, None]
    picture[edge] *= 0.45
    return np.asarray(picture, np.float32)


def _spread(size: Size, rng: Rng) -> Floats:
    """Soft colours, as virtual backgrounds have them."""
    x, y = np.meshgrid(np.linspace(-1, 1, size[0], dtype=np.float32), np.linspace(-1, 1, size[1], dtype=np.float32))
    picture = np.zeros((size[1], size[0], 3), np.float32) + np.array(colour(rng), np.float32)
    for _ in range(4):
        centre_x, centre_y = rng.uniform(-1, 1, 2)
        weight = np.exp(-((x - centre_x) ** 2 + (y - centre_y) ** 2) / rng.uniform(0.2, 0.8))[..., None]
        picture = picture * (1 - weight) + np.array(colour(rng), np.float32) * weight
    return picture


BACKDROPS: dict[str, Callable[[Size, Rng], Floats]] = {
    "wall": _wall, "shelf": _shelf, "night": _night, "window": _window, "planks": _planks, "spread": _spread,
}  # fmt: skip
"""What stands behind people who are cut out: name -> function of size and random numbers."""


def backdrop(name: str, size: Size, rng: Rng) -> Floats:
    """A backdrop's picture, (H, W, 3), 0-255."""
    return np.clip(BACKDROPS[name](size, rng), 0, 255).astype(np.float32)


def _slides(size: Size, stage: Set) -> Shot:
    """A slide; lines appear one by one, and the pointer moves."""
    width = size[0]
    rng, unit = stage.rng, size[1] / 20
    dark = rng.random() < 0.4
    ground, ink = ((28, 32, 44), (235, 238, 245)) if dark else ((250, 250, 248), (30, 34, 40))
    accent = colour(rng)
    heights = rng.uniform(0.15, 1.0, 6)
    lines = [phrase(rng, int(rng.integers(3, 7))) for _ in range(6)]
    title = phrase(rng, 3)

    @cache
    def page(shown: int) -> Pixels:
        sheet = Sheet(size, ground)
        sheet.box(0, 0, width, 3 * unit, accent)
        sheet.text(unit, 0.6 * unit, title, 1.6 * unit, (255, 255, 255))
        for row, line in enumerate(lines[:shown]):
            y = 4 * unit + row * 2.2 * unit
            sheet.disc(1.4 * unit, y + 0.5 * unit, 0.25 * unit, accent)
            sheet.text(2.2 * unit, y, line, 0.95 * unit, ink)
        # An upright page has no room beside its lines.
        for column, share in enumerate(heights if width > size[1] else ()):
            x, w = width * 0.66 + column * width * 0.05, width * 0.035
            sheet.box(x, 16 * unit - share * 9 * unit, w, share * 9 * unit, accent)
        if width > size[1]:
            sheet.box(width * 0.64, 16 * unit, width * 0.33, max(1.0, unit / 8), ink)
        return sheet.pixels()

    path = rng.uniform(0.15, 0.85, (3, 2)) * size

    def picture(number: int) -> Floats:
        share = stage.share(number)
        shown = page(2 + int(4.99 * share)).copy()
        place = (1 - share) ** 2 * path[0] + 2 * share * (1 - share) * path[1] + share**2 * path[2]
        return _pointer(shown, place, unit)

    return picture


def _pointer(picture: Pixels, place: NDArray[np.float64], unit: float) -> Floats:
    """The picture with a mouse pointer, which is drawn in place."""
    shape = np.array([[0, 0], [0, 1.1], [0.28, 0.85], [0.5, 1.3], [0.68, 1.2], [0.46, 0.78], [0.8, 0.75]]) * unit * 0.8
    points = np.rint((place + shape) * 16).astype(np.int32)
    cv2.fillPoly(picture, [points], (20, 20, 20), cv2.LINE_AA, 4)
    cv2.polylines(picture, [points], True, (245, 245, 245), 1, cv2.LINE_AA, 4)
    return picture.astype(np.float32)


def _code(size: Size, stage: Set) -> Shot:
    """An editor in which someone types and scrolls."""
    width, height = size
    rng, unit = stage.rng, max(9.0, size[1] / 26)
    lines = int(2.2 * height / unit)
    tones = [(204, 120, 50), (106, 135, 89), (169, 183, 198), (104, 151, 187), (255, 198, 109)]
    long = Sheet((width, int(lines * unit)), (43, 43, 43))
    for row in range(lines):
        x = 3 * unit + unit * rng.integers(0, 4)
        long.text(0.5 * unit, row * unit, str(row + 1), 0.62 * unit, (96, 99, 102))
        for word in phrase(rng, int(rng.integers(0, 7))).split():
            long.text(x, row * unit, word, 0.7 * unit, tones[int(rng.integers(len(tones)))])
            x += (len(word) + 1) * 0.42 * unit
    page = long.pixels().astype(np.float32)
    pace = rng.uniform(0.1, 0.45) * (page.shape[0] - height)

    def picture(number: int) -> Floats:
        top = int(pace * stage.share(number))
        shown = page[top : top + height].copy()
        y, x = int(0.6 * height), int(3 * unit + (0.3 * unit * number) % (width * 0.5))
        cv2.rectangle(shown, (x, y), (x + max(1, int(unit / 8)), int(y + unit)), (220, 220, 220), -1)
        return shown

    return picture


def _landscape(size: Size, stage: Set) -> Shot:
    """Hills in layers, with sky, under a camera that travels."""
    width, height = size
    rng = stage.rng
    wide = 2 * width
    top, low = np.array(colour(rng, 90, 200), np.float32), np.array(colour(rng, 170, 250), np.float32)
    layers: list[tuple[Floats, Floats, float]] = []
    for depth in range(4):
        ridge = (
            np.cumsum(rng.standard_normal(wide)) * height * 0.004
            + np.sin(np.arange(wide) * rng.uniform(3, 9) / wide) * height * 0.06
        )
        base = height * (0.42 + 0.14 * depth) + ridge - ridge.mean()
        mask = np.clip(np.arange(height, dtype=np.float32)[:, None] - base[None].astype(np.float32), 0, 1)
        tone = (low * (1 - depth / 4) + np.array([50, 80, 40], np.float32) * (depth / 4)) * (0.9 - 0.12 * depth)
        paint = tone + (6 + 7 * depth) * texture((wide, height), rng, 0.8)[..., None]
        layers.append((np.asarray(mask, np.float32), np.asarray(paint, np.float32), 0.15 + 0.25 * depth))
    sky = top + (low - top) * np.linspace(0, 1, height, dtype=np.float32)[:, None, None] + 6 * texture(size, rng, 1.4)[..., None]

    def picture(number: int) -> Floats:
        shown = sky.copy()
        for mask, paint, pace in layers:
            x = int(pace * 0.9 * width * stage.share(number))
            alpha = mask[:, x : x + width, None]
            shown = shown * (1 - alpha) + paint[:, x : x + width] * alpha
        return np.clip(shown, 0, 255)

    return picture


def _game(size: Size, stage: Set) -> Shot:
    """A game: a floor of tiles that runs towards the viewer, boxes, a score."""
    width, height = size
    rng = stage.rng
    tones = [np.array(colour(rng), np.float32) for _ in range(3)]
    rows = np.arange(height, dtype=np.float32)[:, None] - height * 0.4
    depth = height * 0.5 / np.maximum(rows, 1.0)
    across = (np.arange(width, dtype=np.float32)[None] - width / 2) / width * depth * 6
    far = np.clip(rows / (0.25 * height), 0, 1)[..., None]
    boxes = [(rng.uniform(-2.5, 2.5), rng.uniform(0, 8), colour(rng, 60)) for _ in range(7)]

    def picture(number: int) -> Floats:
        seconds = number / stage.fps
        along = depth * 2 + seconds * 3
        check = np.tanh(6 * np.sin(math.pi * across) * np.sin(math.pi * along))[..., None] * 0.5 + 0.5
        floor = tones[0] * check + tones[1] * (1 - check)
        ground_or_sky = np.where(rows[..., None] > 0, tones[2] * 0.6 * (1 - far) + floor * far, tones[2] * 0.6)
        # In 8 bits, as OpenCV smooths edges in no other type.
        shown = np.ascontiguousarray(ground_or_sky.astype(np.uint8))
        for x, start, tone in sorted(boxes, key=lambda box: -((box[1] - seconds * 3) % 8)):
            away = (start - seconds * 3) % 8 + 0.5
            side, centre = height * 0.3 / away, width / 2 + x * width * 0.16 / away
            ground = height * 0.4 + height * 0.5 / away
            corners = np.rint(np.array([[centre - side / 2, ground - side], [centre + side / 2, ground]]) * 16).astype(int)
            cv2.rectangle(shown, tuple(map(int, corners[0])), tuple(map(int, corners[1])), tone, -1, cv2.LINE_AA, 4)
        cv2.putText(
            shown,
            f"SCORE {number * 10:05d}",
            (width // 40, height // 12),
            cv2.FONT_HERSHEY_DUPLEX,
            height / 500,
            (255, 255, 255),
            1,
            cv2.LINE_AA,
        )
        return shown.astype(np.float32)

    return picture


SCREENS: dict[str, Callable[[Size, Set], Shot]] = {"slides": _slides, "code": _code, "game": _game}
"""What people share of their screens. Each moves, because a picture that stands still cannot show a frozen stream."""

PLACES: dict[str, Callable[[Size, Set], Shot]] = {"landscape": _landscape, **SCREENS}
"""Scenes without people."""
