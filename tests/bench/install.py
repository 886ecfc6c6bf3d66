"""How large an installation is: `python -m tests.bench.install [EXTRA,...]`.

Makes a virtual environment of its own, with the tests' versions, and prints the MB (10^6 bytes, with bytecode) of each package,
and of all, as `pip install` leaves them. pip itself is not in it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.bench.arguments import parser_of
from tests.support.installation import all_megabytes, install, megabytes

SMALLEST = 4.0
"""Packages under this many MB are one line."""


def main(extras: str) -> None:
    """Install, and print the table in Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        packages = install(Path(folder), extras)
        sizes, whole = megabytes(packages), all_megabytes(packages)
    name = f"fvq-monitor{f'[{extras}]' if extras else ''}"
    print(f"{name}: {whole:.0f} MB in {len(sizes)} packages\n")
    print("| package | MB |\n|---|---|")
    small = [size for size in sizes.values() if size < SMALLEST]
    for name, size in sizes.items():
        if size >= SMALLEST:
            print(f"| {name} | {size:.0f} |")
    print(f"| {len(small)} others | {sum(small):.0f} |")


if __name__ == "__main__":
    parser = parser_of(__doc__)
    parser.add_argument("extras", nargs="?", default="")
    main(parser.parse_args().extras)
