"""The code of the version before this one, to run it beside this one's.

`tests/old_version/commit` names the commit or tag that stands for it. It is changed when a version is released.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import PYTHON, ROOT, clean_environment

COMMIT_FILE = ROOT / "tests/old_version/commit"
PACKAGES = ("streams", "scorer", "training")


@dataclass(frozen=True)
class Version:
    """A version's code in a folder; it runs in this version's virtual environment.

    commit: that it is of. folder: holds its packages.
    """

    commit: str
    folder: Path

    @property
    def settings(self) -> dict[str, str]:
        """What a process needs in its environment to run this code, for `fvq(...)` and `Worker(...)`."""
        # It comes before site-packages, and so before the code that is installed there as editable.
        return {"PYTHONPATH": str(self.folder)}

    def python(self, program: str, *arguments: str, seconds: float = 120) -> str:
        """Run a program with this code; returns what it prints. A failure fails the test."""
        # -P: the working folder, which has this version's packages, is not searched.
        command = [PYTHON, "-P", "-c", program, *arguments]
        environment = clean_environment() | self.settings
        done = subprocess.run(command, env=environment, cwd=self.folder, capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, f"the code of {self.commit[:10]} fails:\n{done.stderr}"
        return done.stdout


THIS_VERSION = Version("this version", ROOT)


def unpack_old_version(folder: Path) -> Version:
    """The version before, unpacked into a folder. Where its history is not here, the test is skipped."""
    commit = COMMIT_FILE.read_text().strip()
    known = subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True)
    if known.returncode:
        pytest.skip(
            f"the version before is commit {commit[:10]}, which is not in the history here: "
            "run this in a full clone (git fetch --unshallow)"
        )
    folder.mkdir(parents=True)
    archive = folder / "archive.tar"
    subprocess.run(["git", "-C", str(ROOT), "archive", "-o", str(archive), commit, *PACKAGES], check=True)
    subprocess.run(["tar", "-x", "-f", str(archive), "-C", str(folder)], check=True)
    archive.unlink()
    old = Version(commit, folder)
    files = old.python(f"import {', '.join(PACKAGES)}; print(*(m.__file__ for m in ({', '.join(PACKAGES)})), sep='\\n')")
    assert all(Path(file).is_relative_to(folder) for file in files.split()), f"this would run other code:\n{files}"
    return old
