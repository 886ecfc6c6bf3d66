"""The one place that runs ffmpeg: a child process that reads one local file, within a time limit."""

from __future__ import annotations

import errno
import re
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scorer.process import forbid_core_dump, limit
from streams.errors import MediaError

VERSION_SECONDS = 20.0

DISK_FULL = 256 - errno.ENOSPC
"""ffmpeg's exit code where the disk is full; its last line does not say so."""


@dataclass(frozen=True)
class ChildLimits:
    """What ffmpeg may use. memory: bytes that it may allocate. output: bytes of one file that it may write."""

    memory: int
    output: int


@dataclass(frozen=True)
class Finished:
    """A run of ffmpeg that has ended. code: its exit code, 0 for success. stderr: what it wrote there."""

    code: int
    stderr: bytes

    @property
    def reason(self) -> str:
        """The last line that ffmpeg wrote: where it failed, this line says why."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no reason given"

    @property
    def cause(self) -> str:
        """The first line that ffmpeg wrote, without the name of its part: what went wrong first."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return re.sub(r"^(\[[^]]* @ 0x[0-9a-f]+\] )+", "", lines[0]) if lines else "no reason given"


def run(
    source: Path,
    output: Sequence[str],
    *,
    input_options: Sequence[str] = (),
    timeout: float,
    task: str,
    limits: ChildLimits | None = None,
    folder: Path | None = None,
) -> Finished:
    """Run ffmpeg on one file and wait for its end; a failure of ffmpeg is in the result.

    source: the input. output: the arguments after the input, up to the output's path; without any, ffmpeg describes the
    input and fails. input_options: the arguments before the input. timeout: seconds. task: names the work in the message
    of a time-out. folder: where ffmpeg runs, and where relative paths of the output begin. Raises `MediaError` of kind
    "timeout", or "setup" where there is no ffmpeg.
    """
    # The protocol whitelist keeps a hostile playlist from opening URLs.
    command = [
        program(task), "-nostdin", "-hide_banner", "-y", "-protocol_whitelist", "file,pipe",
        *input_options, "-i", f"file:{source}", *output,
    ]  # fmt: skip
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=folder)
    if limits is not None:
        _limit(child.pid, limits, timeout)
    try:
        _, stderr = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise MediaError(f"{task} took more than {timeout:g} s", kind="timeout") from None
    except BaseException:
        child.kill()
        child.wait()
        raise
    return Finished(child.returncode, stderr)


def program(task: str) -> str:
    """The ffmpeg that is used: that of the package imageio-ffmpeg, else the one on PATH.

    task: names the work in the message of the error. Raises `MediaError` of kind "setup" where there is none.
    """
    try:
        import imageio_ffmpeg
    except ImportError:
        path = shutil.which("ffmpeg")
    else:
        path = imageio_ffmpeg.get_ffmpeg_exe()
    if path is None:
        reason = f"{task} needs ffmpeg, and there is none: pip install 'fvq-monitor[demo]', or install your system's ffmpeg"
        raise MediaError(reason, kind="setup")
    return path


def version() -> str:
    """Name and version of the ffmpeg that is used. Raises `MediaError`, OSError or `subprocess.SubprocessError` without one."""
    command = [program("its version"), "-version"]
    text = subprocess.run(command, capture_output=True, check=True, timeout=VERSION_SECONDS).stdout.decode()
    return " ".join(text.split()[:3])


def _limit(pid: int, limits: ChildLimits, timeout: float) -> None:
    """Set the limits of a child that runs already: preexec_fn is not safe in a process with threads."""
    limit(resource.RLIMIT_DATA, limits.memory, pid)
    limit(resource.RLIMIT_FSIZE, limits.output, pid)
    limit(resource.RLIMIT_CPU, 2 * (int(timeout) + 1), pid)  # ends ffmpeg even if this process has died
    forbid_core_dump(pid)
