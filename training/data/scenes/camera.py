"""Where the camera looks: framings of a face, and movements. A camera never scales a source up beyond what is flawless."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from training.data.scenes.material import Material
from training.data.scenes.shot import Camera, Rng, Set, Size, View

FACE_HEIGHT = {"near": (0.42, 0.6), "medium": (0.25, 0.38), "small": (0.1, 0.2), "cut-off": (0.4, 0.7)}
"""Framing -> height of the face as a share of the picture's height, from and to."""

PAN_ROOM = 1.15
"""How much closer than the whole source a pan is at least."""


@dataclass(frozen=True)
class Room:
    """How far a camera may go: sizes of shot and material, scales. loose: it may look beyond the material's sides and top."""

    shot: Size
    material: Size
    least: float
    most: float
    loose: bool = False

    def closer(self, factor: float) -> Room:
        """The room of a camera that is at least so many times closer, if that is not too close: it has way to go."""
        return replace(self, least=min(self.most, self.least * factor))

    def keep(self, view: View) -> View:
        """The nearest view that stays in the room."""
        scale = min(max(view.scale, self.least), self.most)
        if self.loose:
            # A cut-out person must not end in the air: the source's lower edge stays on the picture's or below it.
            return replace(view, scale=scale, y=min(view.y, self.material[1] - self.shot[1] / 2 / scale))
        places = []
        for centre, shot, side in zip((view.x, view.y), self.shot, self.material, strict=True):
            margin = min(side / 2, shot / 2 / scale)
            places.append(min(max(centre, margin), side - margin))
        return replace(view, x=places[0], y=places[1], scale=scale)


def fixed_room(material: Material, size: Size) -> Room:
    """The room of a camera whose shot the material fills."""
    least = max(wanted / side for wanted, side in zip(size, material.size, strict=True))
    return Room(size, material.size, least, max(least, material.flawless))


def loose_room(material: Material, size: Size) -> Room:
    """The room of a camera on a person who is cut out: there is a backdrop beyond the material."""
    return Room(size, material.size, 0.04, material.flawless, loose=True)


def frame(material: Material, place: int, room: Room, framing: str, rng: Rng) -> View:
    """A view of a material's largest face, or without a face of some part of the picture.

    place: the picture of the material by which it is framed. framing: of `FACE_HEIGHT`.
    """
    width, height = material.size
    faces = material.faces(place)
    if not faces:
        scale = rng.uniform(room.least, room.most) if not room.loose else min(room.most, room.shot[1] / height)
        return room.keep(View(rng.uniform(0.3, 0.7) * width, rng.uniform(0.4, 0.6) * height, scale))
    x, y, w, h = faces[0].box
    wanted = rng.uniform(*FACE_HEIGHT[framing]) * room.shot[1] / h
    scale = min(max(wanted, room.least), room.most)
    centre_x, centre_y = x + w / 2, y + h * 0.6
    if room.loose:
        # Stand the person on the lower edge: a cut-out that ends in the air looks wrong.
        lower = min(height - room.shot[1] / 2 / scale, centre_y + 0.25 * room.shot[1] / scale)
        view = View(centre_x + rng.uniform(-0.25, 0.25) * room.shot[0] / scale, lower, scale)
    else:
        view = View(centre_x + rng.uniform(-0.12, 0.12) * room.shot[0] / scale, centre_y + rng.uniform(-0.08, 0.08) * h, scale)
    if framing == "cut-off":
        side = 1 if rng.random() < 0.5 else -1
        view = replace(view, x=centre_x + side * (room.shot[0] / 2 / scale - w * rng.uniform(-0.2, 0.15)))
    return room.keep(view)


def _still(view: View, room: Room, _stage: Set) -> Camera:
    kept = room.keep(view)
    return lambda _: kept


def _zoom(view: View, room: Room, stage: Set) -> Camera:
    """A slow or fast zoom, in or out, as far as the room goes."""
    factor = stage.rng.uniform(0.5, 0.8)
    far = max(room.least, view.scale * factor)
    # A view that shows all of the source leaves no room further out.
    ends = (view.scale if far < 0.95 * view.scale else min(room.most, far / factor), far)
    first, last = ends if stage.rng.random() < 0.5 else ends[::-1]
    start, end = sorted(stage.rng.uniform(0, 1, 2)) if stage.rng.random() < 0.5 else (0.0, 1.0)
    stage.note("zoom")

    def camera(number: int) -> View:
        eased = ease((stage.share(number) - start) / max(0.15, end - start))
        return room.keep(replace(view, scale=math.exp(math.log(first) * (1 - eased) + math.log(last) * eased)))

    return camera


def _pan(view: View, room: Room, stage: Set) -> Camera:
    """From one place to another at a steady pace."""
    angle, length = stage.rng.uniform(0, 2 * math.pi), stage.rng.uniform(0.08, 0.3) * room.shot[0] / view.scale
    inner = room.closer(PAN_ROOM)
    # Between two places that the room has: at a side of the source the camera would stand still.
    middle = inner.keep(view)
    reach = length / 2 * math.cos(angle), 0.2 * length * math.sin(angle)
    ends = [inner.keep(replace(middle, x=middle.x + sign * reach[0], y=middle.y + sign * reach[1])) for sign in (-1, 1)]
    stage.note("pan")

    def camera(number: int) -> View:
        share = stage.share(number)
        x, y = ((1 - share) * first + share * last for first, last in ((ends[0].x, ends[1].x), (ends[0].y, ends[1].y)))
        return replace(middle, x=x, y=y)

    return camera


def in_hand(camera: Camera, room: Room, stage: Set, strength: float) -> Camera:
    """That camera held in a hand: slow swings of some sine waves. strength: the largest as a share of the shot's height."""
    waves = [(stage.rng.uniform(0.4, 2.5), stage.rng.uniform(0, 2 * math.pi), stage.rng.uniform(0.3, 1.0)) for _ in range(9)]
    inner = room.closer(1 + 2 * strength)

    def held(number: int) -> View:
        view, seconds = camera(number), number / stage.fps
        swing = [
            sum(size * math.sin(2 * math.pi * rate * seconds + phase) for rate, phase, size in waves[axis::3]) / 3
            for axis in range(3)
        ]
        reach = strength * room.shot[1] / view.scale
        moved = replace(
            view, x=view.x + swing[0] * reach, y=view.y + swing[1] * reach, angle=view.angle + 60 * strength * swing[2]
        )
        return inner.keep(moved)

    return held


def _hand(strength: float, name: str) -> Callable[[View, Room, Set], Camera]:
    def held(view: View, room: Room, stage: Set) -> Camera:
        stage.note(name)
        return in_hand(lambda _: view, room, stage, strength)

    return held


HAND = 0.015
"""`in_hand`'s strength of a hand that is kept still."""

CAMERAS: dict[str, Callable[[View, Room, Set], Camera]] = {
    "still": _still,
    "zoom": _zoom,
    "pan": _pan,
    "hand-held": _hand(HAND, "hand-held"),
    "shake": _hand(0.07, "shake"),
}
"""Name -> function of (first view, room, set) that gives the camera."""


def ease(share: float) -> float:
    """0 to 1 with a soft start and end; below 0 it is 0, above 1 it is 1."""
    share = min(max(share, 0.0), 1.0)
    return share * share * (3 - 2 * share)
