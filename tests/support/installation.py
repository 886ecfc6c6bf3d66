"""The package in a virtual environment of its own, made anew, and what each of its packages takes on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

from tests.support.processes import ROOT

FETCH_SECONDS = 600


class FetchError(Exception):
    """The packages are neither in uv's cache nor can they be fetched; its text is uv's."""


def install(folder: Path, extras: str = "") -> Path:
    """Install the source tree, not editable, with the tests' versions into `folder/venv`; returns its site-packages.

    extras: as in `pip install .[extras]`. Modules are compiled, as pip does. Raises `FetchError`.
    """
    uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
    source = folder / "source"  # a build leaves files in its tree
    for name in ("scorer", "streams", "training"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
    pins = ["--constraint", ROOT / "constraints.txt", "--build-constraint", ROOT / "constraints.txt"]
    command = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", folder / "venv/bin/python", *pins]
    what = f"{source}[{extras}]" if extras else str(source)
    said = ""
    for offline in (["--offline"], []):
        environment = os.environ | {"UV_HTTP_TIMEOUT": "60"}
        done = subprocess.run(
            [*command, *offline, what], env=environment, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
        if done.returncode == 0:
            return next((folder / "venv/lib").glob("python3*/site-packages"))
        said = done.stderr.strip()
    raise FetchError(said[-1000:])


def megabytes(packages: Path) -> dict[str, float]:
    """MiB on disk of each package in site-packages, with its bytecode, the largest first."""
    sizes = {}
    for distribution in distributions(path=[str(packages)]):
        files = {packages / file for file in distribution.files or []}
        for module in [file for file in files if file.suffix == ".py"]:
            files |= set((module.parent / "__pycache__").glob(f"{module.stem}.*.pyc"))
        sizes[distribution.metadata["Name"]] = sum(_blocks(file) for file in files) / 2**20
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _blocks(file: Path) -> int:
    """Bytes that a file takes on the disk; 0 where it is not there."""
    try:
        return file.lstat().st_blocks * 512
    except OSError:
        return 0
