"""What an installation takes on the disk: `python -m tests.bench.install [EXTRA,...]`.

Makes a virtual environment of its own, with the tests' versions, and prints the MiB of each package, and of all.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.support.installation import install, megabytes

SMALLEST = 4.0
"""Packages under this many MiB are one line."""


def main(extras: str) -> None:
    """Install, and print the table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        sizes = megabytes(install(Path(folder), extras))
    print(f"fvq-monitor{f'[{extras}]' if extras else ''}: {sum(sizes.values()):.0f} MiB in {len(sizes)} packages\n")
    print("| package | MiB |\n|---|---|")
    small = [size for size in sizes.values() if size < SMALLEST]
    for name, size in sizes.items():
        if size >= SMALLEST:
            print(f"| {name} | {size:.0f} |")
    print(f"| {len(small)} others | {sum(small):.0f} |")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
