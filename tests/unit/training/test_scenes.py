"""Scenes: the same for one seed, of every kind, moving, and never larger than their sources are flawless."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import data

from tests.support.processes import ROOT
from training.data.scenes.camera import CAMERAS, FACE_HEIGHT, Room, fixed_room, frame, loose_room
from training.data.scenes.cut import BARS, CUTS, inner_size, with_bars
from training.data.scenes.layout import LAYOUTS, Style
from training.data.scenes.light import LIGHTS
from training.data.scenes.material import Material, read_material
from training.data.scenes.overlay import OVERLAYS
from training.data.scenes.plan import MAIN_PARTS, PARTS, draw_plan, generator, main_part, plain_plan
from training.data.scenes.scene import Scene, casts, make_scene, write_scene
from training.data.scenes.shot import Set, View
from training.data.scenes.worn import WORN

SIZE = (256, 144)
STYLE = Style("near", "still", None, (), "wall")


@pytest.fixture(scope="module")
def cast(tmp_path_factory: pytest.TempPathFactory) -> list[Material]:
    still = tmp_path_factory.mktemp("stills") / "astronaut.png"
    cv2.imwrite(str(still), data.astronaut()[..., ::-1])
    materials = [read_material(ROOT / "examples" / "face.mp4"), read_material(still)]
    return [material for material in materials if material is not None]


def stage(name: str, count: int = 6) -> Set:
    return Set(generator(name), 12.0, count)


def moves(pictures: list[np.ndarray]) -> bool:
    """Whether no picture repeats the one before."""
    return all(float(np.abs(a.astype(float) - b).max()) > 2 for a, b in pairwise(pictures))


def test_both_sources_can_be_used(cast: list[Material]) -> None:
    assert [material.name for material in cast] == ["face", "astronaut"]
    assert all(material.faces(0) for material in cast)


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_layout_has_the_size_asked_for_and_moves(name: str, cast: list[Material]) -> None:
    for size in (SIZE, (144, 256)):
        tile = LAYOUTS[name](cast, size, stage(name), STYLE)
        pictures = [tile.picture(number) for number in range(3)]
        for picture in pictures:
            assert picture.shape == (size[1], size[0], 3)
            assert picture.min() >= 0
            assert picture.max() <= 255
            assert picture.std() > 10
        assert moves(pictures)
        assert tile.matte(0).shape == (size[1], size[0])


@pytest.mark.parametrize(("table", "name"), [("light", name) for name in LIGHTS] + [("worn", name) for name in WORN])
def test_light_and_what_is_worn_change_the_picture(table: str, name: str, cast: list[Material]) -> None:
    style = replace(STYLE, light=name) if table == "light" else replace(STYLE, worn=(name,))
    plain, changed = (LAYOUTS["full"](cast, (180, 180), stage("one"), look) for look in (STYLE, style))
    before, after = plain.picture(2), changed.picture(2)
    difference = np.abs(after - before)
    assert np.isfinite(after).all()
    assert difference.max() > 4
    # The person must still be seen.
    person = plain.matte(2) > 0.9
    assert after[person].mean() > 0.25 * before[person].mean()
    if table == "worn":
        # Only the person is changed.
        assert difference[plain.matte(2) < 0.01].max(initial=0) < 70
        assert (difference.max(-1) < 2).mean() > 0.2


@pytest.mark.parametrize("name", list(OVERLAYS))
def test_an_overlay_leaves_most_of_the_picture(name: str) -> None:
    ground = np.full((SIZE[1], SIZE[0], 3), 100, np.float32)
    shot = OVERLAYS[name](lambda _: ground, SIZE, stage(name))
    changed = np.abs(shot(1) - ground).max(-1) > 1
    assert 0.005 < changed.mean() < 0.5


@pytest.mark.parametrize("name", list(CUTS))
def test_a_cut_begins_with_one_shot_and_ends_with_the_other(name: str) -> None:
    first, second = (
        np.tile(generator(tone).uniform(low, low + 80, (1, 64, 1)).astype(np.float32), (36, 1, 3))
        for tone, low in (("a", 0), ("b", 170))
    )
    shot = CUTS[name](lambda _: first, lambda _: second, Set(generator(name), 25.0, 50))
    pictures = [shot(number) for number in range(50)]
    assert np.array_equal(pictures[0], first)
    assert np.allclose(pictures[-1], second, atol=90 if name != "hard-cut" else 0)
    steps = [float(np.abs(a - b).mean()) for a, b in pairwise(pictures)]
    changing = sum(step > 1 for step in steps)
    assert changing == 1 if name == "hard-cut" else changing >= 3


@pytest.mark.parametrize("name", list(BARS))
def test_bars_leave_the_picture_inside_as_it_is(name: str) -> None:
    size = (320, 180)
    width, height = inner_size(name, size)
    inner = generator(name).uniform(0, 255, (height, width, 3)).astype(np.float32)
    shown = with_bars(name, lambda _: inner, size)(0)
    assert shown.shape == (180, 320, 3)
    x, y = (320 - width) // 2, (180 - height) // 2
    assert np.array_equal(shown[y : y + height, x : x + width], inner)
    assert width * height < 0.8 * 320 * 180


@given(
    x=st.floats(-900, 900),
    y=st.floats(-900, 900),
    scale=st.floats(0.01, 4),
    shot=st.sampled_from([(180, 180), (320, 180), (240, 320)]),
)
def test_a_camera_shows_nothing_outside_of_a_source_and_does_not_scale_it_up(
    x: float, y: float, scale: float, shot: tuple[int, int]
) -> None:
    material = Material("m", np.zeros((2, 600, 640, 3), np.uint8), 25.0, 0.55)
    room = fixed_room(material, shot)
    view = room.keep(View(x, y, scale))
    assert view.scale <= 0.55
    assert view.x - shot[0] / 2 / view.scale >= -1e-6
    assert view.x + shot[0] / 2 / view.scale <= 640 + 1e-6
    assert view.y + shot[1] / 2 / view.scale <= 600 + 1e-6


@pytest.mark.parametrize("name", list(CAMERAS))
@pytest.mark.parametrize("framing", list(FACE_HEIGHT))
def test_no_camera_scales_up(name: str, framing: str, cast: list[Material]) -> None:
    for room in (fixed_room(cast[0], (144, 144)), loose_room(cast[0], (640, 360))):
        camera = CAMERAS[name](frame(cast[0], 0, room, framing, generator(name)), room, stage(name, 50))
        views = [camera(number) for number in range(50)]
        assert max(view.scale for view in views) <= cast[0].flawless
        assert (len(set(views)) == 1) == (name == "still")


@pytest.mark.parametrize("name", list(CAMERAS))
@pytest.mark.parametrize("seed", range(4))
def test_over_a_photograph_no_camera_rests(name: str, seed: int, cast: list[Material]) -> None:
    photograph = cast[1:]
    for layout in ("full", "virtual-background"):
        tile = LAYOUTS[layout](photograph, (160, 90), Set(generator(name, seed), 15.0, 30), replace(STYLE, camera=name))
        assert moves([tile.picture(number) for number in range(30)])


def test_a_face_is_as_large_as_its_framing_says(cast: list[Material]) -> None:
    room = loose_room(cast[0], (640, 360))
    for framing, (least, most) in FACE_HEIGHT.items():
        view = frame(cast[0], 0, room, framing, generator(framing))
        share = cast[0].faces(0)[0].box[3] * view.scale / 360
        assert share <= most
        assert share >= least or view.scale == room.most


def test_every_part_comes_in_turn() -> None:
    assert {main_part(3, number) for number in range(len(MAIN_PARTS))} == set(MAIN_PARTS)
    assert set(PARTS) == {"layout", "framing", "camera", "light", "worn", "overlay", "cut", "bars"}


def test_a_plan_depends_on_the_seed_and_has_its_main_part(cast: list[Material]) -> None:
    for number in range(len(MAIN_PARTS)):
        plan = draw_plan(7, number, cast[0])
        assert plan == draw_plan(7, number, cast[0])
        kind, name = main_part(7, number)
        chosen = {
            "layout": [plan.layout], "framing": [plan.style.framing], "camera": [plan.style.camera], "light": [plan.style.light],
            "worn": plan.style.worn, "overlay": plan.overlays, "cut": [plan.cut], "bars": [plan.bars],
        }  # fmt: skip
        assert name in chosen[kind]
        assert all(side % 2 == 0 for side in plan.size)


def test_in_a_plain_scene_of_a_still_the_camera_moves_and_a_filmed_person_is_shown_as_filmed(cast: list[Material]) -> None:
    filmed, still = cast
    assert {plain_plan(7, number, filmed).style for number in range(20)} == {STYLE}
    for number in range(20):
        scene = make_scene(7, number, [still], 0.6, plain=True)
        pictures = [scene.pixels(place).astype(int) for place in (0, scene.count // 2, scene.count - 1)]
        # Noise of half a level is .3.
        assert max(np.abs(one - other).mean() for one, other in pairwise(pictures)) > 1.5


def test_the_same_seed_makes_the_same_pictures(cast: list[Material]) -> None:
    scenes = [make_scene(seed, 4, cast, 0.5) for seed in (1, 1, 2)]
    first, same, other = ([scene.pixels(number) for number in range(3)] for scene in scenes)
    assert np.array_equal(first, same)
    assert scenes[0].names == scenes[1].names
    assert scenes[0].size != scenes[2].size or not np.array_equal(first, other)


def test_a_plain_scene_shows_its_leader_and_nothing_else(cast: list[Material]) -> None:
    scenes = [make_scene(1, number, cast, 0.3, plain=True) for number in range(4)]
    # Beside the size and the rate only how it is filmed: near, or from further away where the size asks for more than there is.
    assert {scene.names[0] for scene in scenes} == {"full"}
    assert all(len(scene.names) == 4 and scene.names[1] in FACE_HEIGHT for scene in scenes)
    assert len({(scene.size, scene.fps) for scene in scenes}) > 1, "sizes and rates differ all the same"


def test_a_written_scene_has_its_rate_and_its_pictures(cast: list[Material], tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64, dtype=np.float32)[None, :, None] + np.zeros((48, 64, 3), np.float32)
    scene = Scene((64, 48), 12.0, 6, ("ramp",), ("nobody",), lambda number: ramp - 8 * number)
    write_scene(scene, tmp_path / "scene.mkv")
    capture = cv2.VideoCapture(str(tmp_path / "scene.mkv"))
    assert capture.get(cv2.CAP_PROP_FPS) == 12
    pictures = []
    while (read := capture.read())[0]:
        pictures.append(read[1])
    assert len(pictures) == 6
    assert np.abs(pictures[2][..., 0].astype(float) - np.clip(ramp[..., 0] - 16, 0, 255)).mean() < 2


def test_nobody_is_in_two_casts() -> None:
    sources = [Path(f"{name}.mp4") for name in "abcdefgh"]
    groups = casts(sources, 1)
    assert sorted(source for group in groups for source in group) == sources
    assert [len(group) for group in groups] == [3, 3, 2]
    assert groups == casts(sources[::-1], 1)
    assert groups != casts(sources, 2)


def test_a_cut_out_person_is_not_scaled_up_and_does_not_end_in_the_air() -> None:
    room = Room((640, 360), (400, 500), 0.04, 0.5, loose=True)
    view = room.keep(View(-50, 900, 3.0))
    assert (view.x, view.scale) == (-50, 0.5)
    # 360 px of the shot are 720 of the source, whose last row is 500.
    assert view.y == 500 - 360
