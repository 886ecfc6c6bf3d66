"""Shots: what one camera sees of a material, picture by picture, resampled once from the source's own pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.scenes.material import Floats, Material

Size = tuple[int, int]
"""(width, height), px."""

Rng = np.random.Generator

Shot = Callable[[int], Floats]
"""Number of the picture -> (H, W, 3) float32 RGB, 0-255."""


@dataclass
class Set:
    """What all parts of a scene share."""

    rng: Rng
    fps: float
    count: int
    """Pictures of the scene."""
    notes: list[str] = field(default_factory=list)
    """Names of what was done."""

    def note(self, name: str) -> None:
        """Add a name once."""
        if name not in self.notes:
            self.notes.append(name)

    def share(self, number: int) -> float:
        """The time of a picture as a share of the scene, 0-1."""
        return number / max(1, self.count - 1)


@dataclass(frozen=True)
class View:
    """A camera's place over a picture: the centre, px of the picture; scale, px of the shot per px of the picture; degrees."""

    x: float
    y: float
    scale: float
    angle: float = 0.0

    def matrix(self, size: Size) -> NDArray[np.float64]:
        """(2, 3) matrix from the picture's px to those of a shot of that size."""
        turned = np.deg2rad(self.angle)
        a, b = self.scale * np.cos(turned), self.scale * np.sin(turned)
        return np.array(
            [[a, -b, size[0] / 2 - a * self.x + b * self.y], [b, a, size[1] / 2 - b * self.x - a * self.y]], dtype=np.float64
        )


Camera = Callable[[int], View]
"""Number of the picture -> view."""


def look(picture: NDArray[Any], view: View, size: Size, outside: int = cv2.BORDER_REFLECT_101) -> Floats:
    """What a view shows of a picture, float32 of that size.

    picture: (H, W) or (H, W, 3). outside: OpenCV's border mode. The picture is blurred as far as the scale needs, as a warp to a
    smaller size aliases.
    """
    scaled, scale = picture, view.scale
    if scale < 0.5:
        # Averages of whole pixels are exact and fast; the warp does the rest, down to a half at most.
        factor = 2 * scale
        scaled_size = max(2, round(picture.shape[1] * factor)), max(2, round(picture.shape[0] * factor))
        scaled = cv2.resize(picture, scaled_size, interpolation=cv2.INTER_AREA)
        ratio = scaled_size[0] / picture.shape[1]
        view = View(view.x * ratio, view.y * ratio, scale / ratio, view.angle)
        scale = view.scale
    matrix = view.matrix(size)
    # Only the part that is seen is blurred and warped.
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], [size[0], size[1]]], np.float64)
    seen = (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T
    left, top = (int(max(0, value)) for value in np.floor(seen.min(0)) - 8)
    right, bottom = (int(value) for value in np.ceil(seen.max(0)) + 8)
    part = scaled[top:bottom, left:right].astype(np.float32)
    if not part.size:
        return np.zeros((size[1], size[0], *picture.shape[2:]), np.float32)
    if scale < 0.95:
        part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 / scale), np.float32)
    matrix[:, 2] += matrix[:, :2] @ np.array([left, top])
    return np.asarray(cv2.warpAffine(part, matrix, size, flags=cv2.INTER_CUBIC, borderMode=outside), np.float32)


@dataclass(frozen=True)
class Tile:
    """One person's picture in a scene: the shot, where the person is in it, and the points of the face."""

    size: Size
    picture: Shot
    matte: Shot
    """Number of the picture -> (H, W), 0-1."""
    points: Callable[[int], NDArray[np.float32] | None]
    """Number of the picture -> (4, 2) px: eyes, nose, mouth; None without a face."""

    def with_picture(self, picture: Shot) -> Tile:
        """The same with other pictures."""
        return Tile(self.size, picture, self.matte, self.points)


def film(material: Material, camera: Camera, size: Size, start: int, step: int, mirror: bool) -> Tile:
    """A tile of what a camera sees of a material that fills it.

    start: the picture of the material that is the first. step: pictures of the material per picture of the scene; at least 1.
    """
    place = _places(material, start, step)

    def picture(number: int) -> Floats:
        seen = look(material.pictures[place(number)], camera(number), size)
        return np.clip(seen[:, ::-1] if mirror else seen, 0, 255)

    def matte(number: int) -> Floats:
        seen = np.clip(look(material.matte(place(number)), camera(number), size), 0, 1)
        return np.ascontiguousarray(seen[:, ::-1]) if mirror else seen

    def points(number: int) -> NDArray[np.float32] | None:
        return seen_points(material, place(number), camera(number), size, mirror)

    return Tile(size, picture, matte, points)


def cut_out(material: Material, camera: Camera, size: Size, start: int, step: int, mirror: bool, backdrop: Shot) -> Tile:
    """A tile with the person of a material before a backdrop, at any place and size that the camera gives.

    Parameters as of `film`. backdrop: a shot of that size.
    """
    place = _places(material, start, step)

    def matte(number: int) -> Floats:
        seen = np.clip(look(material.matte(place(number)), camera(number), size, cv2.BORDER_CONSTANT), 0, 1)
        return np.ascontiguousarray(seen[:, ::-1]) if mirror else seen

    def picture(number: int) -> Floats:
        seen = np.clip(look(material.pictures[place(number)], camera(number), size, cv2.BORDER_REPLICATE), 0, 255)
        person = seen[:, ::-1] if mirror else seen
        alpha = matte(number)[..., None]
        return np.asarray(person * alpha + backdrop(number) * (1 - alpha), np.float32)

    def points(number: int) -> NDArray[np.float32] | None:
        return seen_points(material, place(number), camera(number), size, mirror)

    return Tile(size, picture, matte, points)


def _places(material: Material, start: int, step: int) -> Callable[[int], int]:
    return lambda number: material.at(start + number * step)


def seen_points(material: Material, place: int, view: View, size: Size, mirror: bool) -> NDArray[np.float32] | None:
    """The points of the face in a picture of the material, as px of a shot of that size; left and right as they are seen."""
    points = material.points(place)
    if points is None:
        return None
    matrix = view.matrix(size)
    seen = (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
    if mirror:
        seen[:, 0] = size[0] - seen[:, 0]
        seen = seen[[1, 0, 2, 3]]
    return seen


def whole(size: Size, shot: Shot) -> Tile:
    """A tile of a shot in which nobody is."""
    nobody = np.zeros((size[1], size[0]), np.float32)
    return Tile(size, shot, lambda _: nobody, lambda _: None)
