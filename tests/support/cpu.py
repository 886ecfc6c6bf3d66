"""CPU time of processes, as the kernel counts it."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from pathlib import Path

import imageio_ffmpeg


def cpu_seconds(pid: int) -> float:
    """CPU seconds, user and system, of a process with all its threads, to the clock tick (10 ms)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def decode_seconds(segment: Path) -> float:
    """CPU seconds of ffmpeg's full decode, on one thread."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    decode = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-threads", "1", "-i", str(segment), "-f", "null", "-"]
    subprocess.run(decode, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def group_cpu_seconds(group: int) -> float:
    """CPU seconds, user and system, of all running processes of a process group. Of those that have ended nothing is counted."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # a process that has ended
            # The name, in brackets, may have spaces in it. After it come state, parent and group; the times are fields 14 and 15.
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def machine_cpu_seconds() -> float:
    """CPU seconds that all cores of this machine were busy, with what its host gave to others (steal)."""
    user, nice, system, _idle, _waiting, irq, softirq, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
