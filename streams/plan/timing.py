"""What is timed inside a sampling child, and the memory of processes."""

from __future__ import annotations

import time
from pathlib import Path

from scorer.sampling import sample
from scorer.sampling.glance import glance, headers_only
from scorer.spec import SampledClip, SamplerSpec
from streams.errors import MediaError


def timed_sample(path: Path, spec: SamplerSpec, duration: float) -> tuple[float, SampledClip]:
    """CPU seconds that sampling a segment takes in this process, and its clip. Runs in a sampling child."""
    started = time.process_time()
    clips = sample(path, spec, duration=duration)
    seconds = time.process_time() - started
    if not clips:
        raise MediaError("the clip holds no picture", kind="empty")
    return seconds, clips[0][1]


def timed_glance(path: Path, picture: bool) -> float:
    """CPU seconds that a glance at a segment takes in this process. picture: with its keyframe. Runs in a sampling child."""
    started = time.process_time()
    (glance if picture else headers_only)(path)
    return time.process_time() - started


def memory_mb(pid: int) -> float:
    """Resident memory of a process, MiB, with the libraries that it shares. Raises OSError where the kernel does not tell."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"/proc/{pid}/status has no line VmRSS")
