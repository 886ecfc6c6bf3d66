"""How people are arranged in the picture: full, before a backdrop, side by side, in a grid, in a corner, beside a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from training.data.scenes.camera import CAMERAS, HAND, Room, fixed_room, frame, in_hand, loose_room
from training.data.scenes.drawn import BACKDROPS, PLACES, SCREENS, Colour, Sheet, backdrop, colour, phrase
from training.data.scenes.light import LIGHTS
from training.data.scenes.material import Floats, Material
from training.data.scenes.shot import Camera, Set, Shot, Size, Tile, View, cut_out, film, look, whole
from training.data.scenes.worn import WORN


@dataclass(frozen=True)
class Style:
    """How a person is filmed: names of the tables of their modules; light None is the source's own."""

    framing: str
    camera: str
    light: str | None
    worn: tuple[str, ...]
    backdrop: str


def person(material: Material, size: Size, stage: Set, style: Style, *, alone: bool = False) -> Tile:
    """One person in a tile: filling it where the source is large enough, else cut out before a backdrop, else in a frame on it.

    alone: never filling it.
    """
    if (alone or not material.fits(size)) and not _can_be_cut_out(material):
        return _framed(material, size, stage, style)
    if alone or not material.fits(size):
        back = backdrop(style.backdrop, (round(1.25 * size[0]), round(1.25 * size[1])), stage.rng)
        stage.note("virtual-background")
        return _lit(_before(material, size, stage, style, _standing(back)), stage, style)
    start, step, mirror = _time(material, stage)
    room = fixed_room(material, size)
    view = frame(material, material.at(start), room, style.framing, stage.rng)
    _note_framing(material, start, room, view, stage)
    camera = _camera(material, style, view, room, stage)
    return _lit(_dressed(film(material, camera, size, start, step, mirror), stage, style), stage, style)


CUT_EDGE = 0.25
"""Share of a picture's side that a cut-out person may cover: a shoulder that the source cuts would end in the air."""


def _can_be_cut_out(material: Material) -> bool:
    """Whether a person stands free of the source's sides, in the upper part, and of its top."""
    place = len(material.pictures) // 2
    matte = material.matte(place)
    height, width = matte.shape
    sides = [matte[: int(0.85 * height), part].mean() for part in (slice(0, 3), slice(width - 3, width))]
    return max(sides) < CUT_EDGE and float(matte[:3].mean()) < 0.05


def _framed(material: Material, size: Size, stage: Set, style: Style) -> Tile:
    """A person's whole picture as large as it is flawless, in a frame on a backdrop, as broadcasts show callers."""
    stage.note("framed")
    share = stage.rng.uniform(0.6, 0.88)
    scale = min(material.flawless * 0.98, share * size[0] / material.size[0], share * size[1] / material.size[1])
    inner = even(material.size[0] * scale) - 2, even(material.size[1] * scale) - 2
    back = backdrop(style.backdrop, size, stage.rng)
    x, y = (even((side - part) * stage.rng.uniform(0.35, 0.65)) for side, part in zip(size, inner, strict=True))
    edge = max(1, size[1] // 120)
    cv2.rectangle(back, (x - edge, y - edge), (x + inner[0] + edge - 1, y + inner[1] + edge - 1), (240, 240, 240), -1)
    return paste(size, [(x, y, person(material, inner, stage, style))], lambda _: back)


def _camera(material: Material, style: Style, view: View, room: Room, stage: Set) -> Camera:
    """The style's camera; over a photograph it always moves, or the clip would be a frozen one."""
    if material.fps:
        return CAMERAS[style.camera](view, room, stage)
    camera = CAMERAS["hand-held" if style.camera == "still" else style.camera](view, room, stage)
    # A zoom rests before and after its way, where an encoder then repeats one picture.
    return in_hand(camera, room, stage, HAND) if style.camera == "zoom" else camera


def _time(material: Material, stage: Set) -> tuple[int, int, bool]:
    """(first picture, pictures per picture of the scene, mirrored)."""
    step = max(1, round(material.fps / stage.fps))
    return int(stage.rng.integers(len(material.pictures))), step, bool(stage.rng.random() < 0.5)


def _dressed(tile: Tile, stage: Set, style: Style) -> Tile:
    for name in style.worn:
        stage.note(name)
        tile = tile.with_picture(WORN[name](tile, stage))
    return tile


def _lit(tile: Tile, stage: Set, style: Style) -> Tile:
    if style.light is None:
        return tile
    stage.note(style.light)
    return tile.with_picture(LIGHTS[style.light](tile, stage))


Backdrop = Callable[[Camera, View, Size], Shot]
"""(camera of the person, its first view, size) -> the shot of what is behind."""


def _standing(back: Floats) -> Backdrop:
    """A backdrop's picture that moves a little with the camera, as what is far away does."""

    def shot(camera: Camera, first: View, size: Size) -> Shot:
        height, width = back.shape[:2]
        room = Room(size, (width, height), size[0] / width, 1.0)
        kept: dict[View, Floats] = {}

        def picture(number: int) -> Floats:
            view = camera(number)
            moved = View(
                width / 2 + 0.6 * (view.x - first.x) * view.scale, height / 2 + 0.6 * (view.y - first.y) * view.scale, 1.0
            )
            placed = room.keep(replace(moved, x=round(moved.x * 4) / 4, y=round(moved.y * 4) / 4))
            if placed not in kept:
                kept.clear()
                kept[placed] = np.clip(look(back, placed, size), 0, 255)
            return kept[placed]

        return picture

    return shot


def _before(material: Material, size: Size, stage: Set, style: Style, back: Backdrop, slot: float = 0.5) -> Tile:
    """A dressed person before a backdrop. slot: where, from left to right, 0-1."""
    start, step, mirror = _time(material, stage)
    room = loose_room(material, size)
    view = frame(material, material.at(start), room, style.framing, stage.rng)
    shift = (slot - 0.5) * size[0] / view.scale
    view = replace(view, x=view.x + shift if mirror else view.x - shift)
    _note_framing(material, start, room, view, stage)
    camera = _camera(material, style, view, room, stage)
    return _dressed(cut_out(material, camera, size, start, step, mirror, back(camera, view, size)), stage, style)


def _note_framing(material: Material, start: int, room: Room, view: View, stage: Set) -> None:
    """Note how large the face is, and whether the picture's edge cuts it, as it came out and not as it was wanted."""
    faces = material.faces(material.at(start))
    if not faces:
        stage.note("no-face-found")
        return
    x, y, w, h = faces[0].box
    matrix = view.matrix(room.shot)
    corners = np.array([[x, y], [x + w, y + h]]) @ matrix[:, :2].T + matrix[:, 2]
    inside = np.clip(corners, 0, room.shot)
    if np.prod(inside[1] - inside[0]) < 0.8 * np.prod(corners[1] - corners[0]):
        stage.note("cut-off")
    tall = float(corners[1, 1] - corners[0, 1]) / room.shot[1]
    stage.note("near" if tall > 0.4 else "medium" if tall > 0.21 else "small")
    points = faces[0].points
    eyes = points[1] - points[0]
    # Of a face that looks straight on, the nose is in the middle between the eyes.
    turned = abs(float((points[2] - (points[0] + points[1]) / 2) @ eyes) / max(1.0, float(eyes @ eyes)))
    if turned > 0.4:
        stage.note("profile")


def paste(size: Size, parts: Sequence[tuple[int, int, Tile]], ground: Shot) -> Tile:
    """A tile of tiles: each at (x, y) px, over the ground. Its person is that of the first part."""
    left, top, first = parts[0]

    def picture(number: int) -> Floats:
        shown = ground(number).copy()
        for x, y, tile in parts:
            shown[y : y + tile.size[1], x : x + tile.size[0]] = tile.picture(number)
        return shown

    def matte(number: int) -> Floats:
        shown = np.zeros((size[1], size[0]), np.float32)
        shown[top : top + first.size[1], left : left + first.size[0]] = first.matte(number)
        return shown

    def points(number: int) -> Floats | None:
        inner = first.points(number)
        return None if inner is None else inner + np.array([left, top], np.float32)

    return Tile(size, picture, matte, points)


def _plain(size: Size, tone: Colour) -> Shot:
    ground = np.zeros((size[1], size[0], 3), np.float32) + np.array(tone, np.float32)
    return lambda _: ground


def even(side: float) -> int:
    """The nearest even number of px, at least 2."""
    return max(2, 2 * round(side / 2))


def _full(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    stage.note("full" if cast[0].fits(size) else "virtual-background")
    return person(cast[0], size, stage, style)


def _virtual(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    return person(cast[0], size, stage, style, alone=True)


def _blurred(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    """The room behind the person out of focus, as calls and phones do it."""
    tile = person(cast[0], size, stage, replace(style, light=None))
    radius = size[1] * float(stage.rng.uniform(0.015, 0.04))
    stage.note("blurred-background")

    def picture(number: int) -> Floats:
        shown, person_there = tile.picture(number), tile.matte(number)[..., None]
        # The person is left out of the blur, or a halo of skin would be around it.
        weight = 1 - person_there + 1e-3
        behind = cv2.GaussianBlur(shown * weight, (0, 0), radius) / cv2.GaussianBlur(weight, (0, 0), radius)[..., None]
        return np.clip(shown * person_there + behind * (1 - person_there), 0, 255).astype(np.float32)

    return _lit(tile.with_picture(picture), stage, style)


def _several(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    """Two or three people before one backdrop; a call of two where nobody can be cut out."""
    free = [material for material in cast if _can_be_cut_out(material)]
    if not free:
        return _side_by_side(cast, size, stage, style)
    people = free[: 3 if size[0] > size[1] else 2] if len(free) > 1 else [free[0], free[0]]
    back = _standing(backdrop(style.backdrop, (round(1.25 * size[0]), round(1.25 * size[1])), stage.rng))
    stage.note("several")
    framing = "small" if style.framing == "small" else "medium"
    tiles: list[Tile] = []
    for place, material in enumerate(people):
        slot = (place + 0.5) / len(people)
        behind = back if not tiles else _over(tiles[-1])
        tiles.append(_before(material, size, stage, replace(style, framing=framing), behind, slot))

    def matte(number: int) -> Floats:
        return np.maximum.reduce([tile.matte(number) for tile in tiles])

    return _lit(Tile(size, tiles[-1].picture, matte, tiles[0].points), stage, style)


def _over(tile: Tile) -> Backdrop:
    return lambda _camera, _view, _size: tile.picture


def _side_by_side(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    """A call of two."""
    stage.note("side-by-side")
    gap, upright = even(size[1] * 0.02), size[1] > size[0]
    inner = (
        (even(size[0] - 2), even((size[1] - gap) / 2))
        if upright
        else (even((size[0] - gap) / 2), even(size[1] * stage.rng.uniform(0.7, 1)))
    )
    margin = (size[1] - inner[1]) // 2
    tiles = [person(material, inner, stage, other) for material, other in zip(_two(cast), _styles(style, stage, 2), strict=True)]
    places = [(0, 0), (0, size[1] - inner[1])] if upright else [(0, margin), (size[0] - inner[0], margin)]
    return paste(
        size, [(x, y, tile) for (x, y), tile in zip(places, tiles, strict=True)], _plain(size, colour(stage.rng, 10, 50))
    )


def _two(cast: Sequence[Material]) -> list[Material]:
    return [cast[0], cast[1 % len(cast)]]


def _styles(style: Style, stage: Set, count: int) -> list[Style]:
    """The style, and for the other people styles of their own."""
    names, lights = list(BACKDROPS), [None, None, *LIGHTS]
    others = [
        replace(style, worn=(), backdrop=str(stage.rng.choice(names)), light=lights[int(stage.rng.integers(len(lights)))])
        for _ in range(count - 1)
    ]
    return [style, *others]


def _initials(size: Size, stage: Set) -> Tile:
    """A tile of someone whose camera is off."""
    sheet = Sheet(size, (38, 40, 44))
    sheet.disc(size[0] / 2, size[1] / 2, 0.25 * size[1], colour(stage.rng))
    letters = phrase(stage.rng, 1)[:2].upper()
    sheet.text(size[0] / 2 - 0.15 * size[1], size[1] / 2 - 0.13 * size[1], letters, 0.22 * size[1], (250, 250, 250))
    shown = sheet.pixels().astype(np.float32)
    return whole(size, lambda _: shown)


def _grid(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    """A call of four, of whom one may have the camera off."""
    stage.note("grid")
    gap = even(size[1] * 0.015)
    inner = even((size[0] - gap) / 2), even((size[1] - gap) / 2)
    tiles = [
        person(material, inner, stage, other)
        for material, other in zip(cast[:3], _styles(style, stage, len(cast[:3])), strict=True)
    ]
    tiles += [_initials(inner, stage) for _ in range(4 - len(tiles))]
    right, low = size[0] - inner[0], size[1] - inner[1]
    places = [(0, 0), (right, 0), (0, low), (right, low)]
    return paste(size, [(x, y, tile) for (x, y), tile in zip(places, tiles, strict=True)], _plain(size, (24, 24, 26)))


def _in_picture(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    """A small picture of one person over the large one of another, or over a game or a landscape."""
    stage.note("picture-in-picture")
    small = even(size[0] * stage.rng.uniform(0.22, 0.34)), even(size[1] * stage.rng.uniform(0.22, 0.34))
    inset = person(cast[0], small, stage, style)
    if stage.rng.random() < 0.5:
        main = person(cast[1 % len(cast)], size, stage, _styles(style, stage, 2)[1]).picture
    else:
        name = str(stage.rng.choice([name for name in PLACES if name != "code"]))
        stage.note(name)
        main = PLACES[name](size, stage)
    margin = even(size[1] * 0.03)
    x = margin if stage.rng.random() < 0.5 else size[0] - small[0] - margin
    y = margin if stage.rng.random() < 0.5 else size[1] - small[1] - margin
    return paste(size, [(x, y, inset)], main)


def _screen_share(cast: Sequence[Material], size: Size, stage: Set, style: Style) -> Tile:
    """A shared screen with people in a strip beside it, or below it where the picture is upright."""
    name = str(stage.rng.choice(list(SCREENS)))
    stage.note("screen-share")
    stage.note(name)
    upright = size[1] > size[0]
    side = even((size[1] if upright else size[0]) * 0.24)
    screen = (size[0], size[1] - side) if upright else (size[0] - side, size[1])
    people = list(cast[:2])
    inner = (even(size[0] / 2) - 2, side) if upright else (side, even(side * 0.75))
    tiles = [
        person(material, inner, stage, other) for material, other in zip(people, _styles(style, stage, len(people)), strict=True)
    ]
    places = [(even(size[0] / 2) * n, screen[1]) if upright else (screen[0], n * (inner[1] + 4)) for n in range(len(tiles))]
    shared = whole(screen, SCREENS[name](screen, stage))
    parts = [(x, y, tile) for (x, y), tile in zip(places, tiles, strict=True)]
    return paste(size, [*parts, (0, 0, shared)], _plain(size, (30, 31, 34)))


def _nobody(_cast: Sequence[Material], size: Size, stage: Set, _style: Style) -> Tile:
    """A scene without people."""
    name = str(stage.rng.choice(list(PLACES)))
    stage.note("no-face")
    stage.note(name)
    return whole(size, PLACES[name](size, stage))


LAYOUTS: dict[str, Callable[[Sequence[Material], Size, Set, Style], Tile]] = {
    "full": _full, "virtual-background": _virtual, "blurred-background": _blurred, "several": _several,
    "side-by-side": _side_by_side, "grid": _grid, "picture-in-picture": _in_picture,
    "screen-share": _screen_share, "no-face": _nobody,
}  # fmt: skip
"""Name -> function of (cast, size, set, style) that gives the scene's picture."""
