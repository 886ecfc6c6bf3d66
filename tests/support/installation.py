"""The package in a virtual environment of its own, made anew, and the size of its packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

import pytest

from tests.support.processes import ROOT

FETCH_SECONDS = 600
UV = shutil.which("uv") or str(ROOT / ".venv/bin/uv")


class FetchError(Exception):
    """The packages are neither in uv's cache nor can they be fetched; its text is uv's."""


def uv(*arguments: str | Path) -> None:
    """Run a command of uv that needs packages, of the tests' versions: from uv's cache, else fetched. Raises `FetchError`."""
    pins = ["--build-constraint", ROOT / "constraints.txt"]
    said = ""
    for offline in (["--offline"], []):
        done = subprocess.run(
            [UV, *arguments, *pins, "--quiet", *offline],
            env=os.environ | {"UV_HTTP_TIMEOUT": "60"},
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
        if done.returncode == 0:
            return
        said = done.stderr.strip()
    raise FetchError(said[-1000:])


@contextmanager
def fetched(what: str) -> Iterator[None]:
    """Skip the test where packages can be had from nowhere, or fail with CI=true. what: the packages, in words."""
    try:
        yield
    except FetchError as error:
        words = f"{what} are neither in uv's cache nor can they be fetched: {error}"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)


def new_environment(folder: Path) -> Path:
    """Make a virtual environment in `folder/venv`; returns its Python."""
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    return folder / "venv/bin/python"


def copy_source(folder: Path) -> Path:
    """Copy what the package is built from into `folder/source`, because a build leaves files in its tree; returns it."""
    source = folder / "source"
    for name in ("scorer", "streams", "training", "docs/schemas"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"):
        shutil.copy(ROOT / name, source)
    return source


def build(source: Path, out: Path, *kinds: str) -> list[Path]:
    """Build into a folder; returns the files.

    source: a tree or an sdist. kinds: `--sdist`, `--wheel`; without: an sdist, and the wheel that it builds. Raises `FetchError`.
    """
    uv("build", source, "--out-dir", out, *kinds)
    return sorted(path for path in out.iterdir() if path.suffix in (".whl", ".gz"))


def install(folder: Path, extras: str = "") -> Path:
    """Install the wheel of the source tree's sdist, with the tests' versions, into `folder/venv`; returns its site-packages.

    extras: as in `pip install fvq-monitor[extras]`. Modules are compiled, as pip does. Raises `FetchError`.
    """
    _, wheel = sorted(build(copy_source(folder), folder / "dist"), key=lambda path: path.suffix == ".whl")
    python = new_environment(folder)
    what = f"fvq-monitor{f'[{extras}]' if extras else ''} @ {wheel.as_uri()}"
    uv("pip", "install", "--compile-bytecode", "--python", python, "--constraint", ROOT / "constraints.txt", what)
    return next((folder / "venv/lib").glob("python3*/site-packages"))


def megabytes(packages: Path) -> dict[str, float]:
    """MB (10^6 bytes) of the files of each package in site-packages, with its bytecode, the largest first."""
    sizes = {}
    for distribution in distributions(path=[str(packages)]):
        files = {packages / file for file in distribution.files or []}
        for module in [file for file in files if file.suffix == ".py"]:
            files |= set((module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"))
        sizes[distribution.metadata["Name"]] = sum(_bytes(file) for file in files) / 1e6
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def all_megabytes(folder: Path) -> float:
    """MB (10^6 bytes) of a folder and everything in it, as `du -sb` counts them."""
    return sum(_bytes(path) for path in (folder, *folder.rglob("*"))) / 1e6


def _bytes(path: Path) -> int:
    """Length of a file, 0 where it is not there; what the folder itself takes, for a folder."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0
