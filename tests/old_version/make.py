"""Store what the version before writes, and what it reads in that: `python -m tests.old_version.make`, in a full clone.

Each version has a folder of its own under `files/`. One that is there stays as it is: it is what users have.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.old_version import stores
from tests.support.old_version import COMMIT_FILE, unpack_old_version

FILES = Path(__file__).parent / "files"


def main() -> int:
    folder = FILES / COMMIT_FILE.read_text().strip()[:10]
    if folder.exists():
        print(f"{folder} is there already", file=sys.stderr)
        return 1
    program = Path(stores.__file__).read_text()
    with tempfile.TemporaryDirectory() as scratch:
        old = unpack_old_version(Path(scratch) / "code")
        old.python(program, "write", str(folder))
        known = json.loads(old.python(program, "read", str(folder)))
    (folder / "read.json").write_text(json.dumps(known, sort_keys=True) + "\n")
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
