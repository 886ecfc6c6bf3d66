"""The wheel and the sdist: they have all of the packages and nothing else, and the sdist builds the same wheel.

`test_core_install.py` runs the wheel of the sdist, installed alone.
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.support.installation import build, copy_source, fetched

PACKAGES = ("scorer", "streams", "training")

MUST = {
    "scorer/nano/model.onnx",
    "scorer/nano/model.safetensors",
    "scorer/assets/face_detection_full_range_sparse.onnx",
    "scorer/NOTICE",
    "streams/web/page/index.html",
    "streams/web/page/icons/1.svg",
    "streams/web/page/vendor/uPlot.LICENSE",
    "streams/rating/page/page.html",
    "streams/alerts/causes.csv",
    "training/recipes/nano.yaml",
}
"""Some of each kind of file that is no module: without them the test of all files could pass on a tree that lost them."""

BESIDE = {"pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "PKG-INFO", "setup.cfg"}
"""Files of the sdist beside the packages."""

LITTER = (
    "scorer/__pycache__/left.cpython-311.pyc",
    "streams/web/page/__pycache__/left.pyc",
    "training/.ruff_cache/left",
    "tests/test_left.py",
    "tests/unit/test_left.py",
    "docs/left.md",
    "fvq-data/left.db",
    "runs/left.csv",
)
"""What lies about in a tree that somebody works in."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree, as it looks after some days of work."""
    source = copy_source(tmp_path_factory.mktemp("tree"))
    for name in LITTER:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("left")
    return source


@pytest.fixture(scope="module")
def shipped(source: Path) -> set[str]:
    """All files of the packages, as paths from the top of the tree."""
    files = {str(path.relative_to(source)) for name in PACKAGES for path in (source / name).rglob("*") if path.is_file()}
    return files - set(LITTER)


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with fetched("the build's packages"):
        (sdist,) = build(source, tmp_path_factory.mktemp("sdist"), "--sdist")
    return sdist


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the tree itself."""
    with fetched("the build's packages"):
        (wheel,) = build(source, tmp_path_factory.mktemp("wheel"), "--wheel")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_wheel_has_all_of_the_packages_and_nothing_else(wheel: Path, shipped: set[str]) -> None:
    files = {name for name in contents(wheel) if ".dist-info/" not in name}
    assert shipped >= MUST
    assert files == shipped


def test_the_wheel_names_its_licences_and_command(wheel: Path) -> None:
    files = {name.partition(".dist-info/")[2]: text for name, text in contents(wheel).items() if ".dist-info/" in name}
    assert {"licenses/LICENSE", "licenses/scorer/NOTICE"} <= set(files)
    assert b"fvq = streams.cli:main" in files["entry_points.txt"]


def test_the_sdist_has_the_packages_and_what_people_who_build_need(source: Path, sdist: Path, shipped: set[str]) -> None:
    with tarfile.open(sdist) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
    schemas = {str(path.relative_to(source)) for path in (source / "docs/schemas").iterdir()}
    assert len(schemas) > 5
    assert {name for name in files if not name.startswith("fvq_monitor.egg-info/")} == shipped | schemas | BESIDE


def test_the_sdist_builds_the_same_wheel(sdist: Path, wheel: Path, tmp_path: Path) -> None:
    with fetched("the build's packages"):
        (again,) = build(sdist, tmp_path, "--wheel")
    assert again.name == wheel.name
    assert contents(again) == contents(wheel)
