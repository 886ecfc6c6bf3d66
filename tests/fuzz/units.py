"""Mutated units of H.264 and HEVC through the readers of their headers: each has a quantiser in range, or none, at once."""

from __future__ import annotations

import random
import time
from pathlib import Path

import av

from scorer.sampling.bitstream.quantisers import PARSERS
from scorer.sampling.bitstream.units import units_of
from tests.fuzz.report import Finding, Report
from tests.support.media import make_clip

SEEDS = {
    "h264": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-x264-params", "bframes=3:ref=4:weightp=2:slices=2:keyint=6"),
    "hevc": ("-c:v", "libx265", "-pix_fmt", "yuv420p", "-x265-params", "log-level=0:pools=1:bframes=3:ref=4:keyint=6:slices=2"),
}
LOWEST, HIGHEST = -6 * 8, 51
SLOW_SECONDS = 0.5
"""A stream that takes longer counts as one that hangs, s: it is a millisecond's work."""


def make_streams(folder: Path) -> dict[str, list[bytes]]:
    """The units of a short clip of each codec."""
    folder.mkdir(parents=True, exist_ok=True)
    streams = {}
    for codec, options in SEEDS.items():
        path = make_clip(folder / f"units-{codec}.ts", 96, 64, 1.0, 10, options=options)
        with av.open(str(path)) as container:
            packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
        streams[codec] = [unit for packet in packets for unit in units_of(memoryview(packet), None)]
    return streams


def fuzz_units(count: int, seed: int, folder: Path) -> Report:
    """Read `count` streams of mutated units, and hold each answer against the promise. folder: for the seeds."""
    streams = make_streams(folder)
    report = Report("units of H.264 and HEVC", seed)
    for number in range(count):
        chance = random.Random(f"units {seed} {number}")
        codec = chance.choice(list(streams))
        units = mutated_units(streams[codec], chance)
        started = time.monotonic()
        outcome, wrong = answer_to(codec, units)
        seconds = time.monotonic() - started
        report.add_time(seconds, f"stream {number}")
        report.outcomes[outcome] += 1
        if seconds > SLOW_SECONDS:
            wrong = f"it took {seconds:.1f} s"
        if wrong is not None:
            report.findings.append(Finding("units", f"{codec} {number}: {wrong}", b"\0\0\1".join([b"", *units])))
    return report


def mutated_units(units: list[bytes], chance: random.Random) -> list[bytes]:
    """The units with some changed, repeated, cut off or in another order."""
    changed = list(units)
    for _ in range(chance.choice([1, 1, 3, 8])):
        place = chance.randrange(min(len(changed), chance.choice([4, len(changed)])))
        unit = bytearray(changed[place])
        match chance.randrange(5):
            case 0:
                del unit[chance.randrange(len(unit) + 1) :]
            case 1:
                at = chance.randrange(len(unit) + 1)
                unit[at : at + chance.randrange(4)] = chance.randbytes(chance.randrange(1, 9))
            case 2:
                unit[chance.randrange(len(unit) + 1) :] = chance.choice([b"\0", b"\xff", b"\0\0\3", b"\xaa"]) * 2000
            case 3:
                changed.insert(chance.randrange(len(changed) + 1), bytes(unit))
            case _:
                for _ in range(chance.choice([1, 4, 20])) if unit else ():
                    unit[chance.randrange(min(len(unit), 40))] ^= 1 << chance.randrange(8)
        changed[place] = bytes(unit)
    return changed


def answer_to(codec: str, units: list[bytes]) -> tuple[str, str | None]:
    """What a stream was answered with, and what is wrong with that; None where nothing is."""
    slices = PARSERS[codec][0]()
    try:
        read = [quantiser for unit in units if (quantiser := slices.quantiser(unit)) is not None]
    except Exception as error:
        return "exception", f"{type(error).__name__}: {error}"
    if any(not LOWEST <= quantiser <= HIGHEST for quantiser in read):
        return "out of range", f"quantisers are {read}"
    return "quantisers" if read else "none", None
