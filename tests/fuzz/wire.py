"""Mutated bodies of a served scorer, through `scorer.remote.wire.unpack`: each is read, or refused with a reason."""

from __future__ import annotations

import json
import random
import time
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from scorer.remote.wire import OtherSpecError, WireError, pack, unpack
from scorer.spec import MODEL_INPUTS, ModelInput
from tests.fuzz.report import Finding, Report
from tests.support.doubles import SPEC, make_clip

STATISTICS, MOST_CLIPS = 20, 8
SLOW_SECONDS = 1.0
"""A body that takes longer counts as one that hangs, s."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 1.0, 2**31, 2**63, -(2**63), 10**400, 0.5, float("nan"), float("inf"), "", "\0", "\ud800", "1",
    "-1", "٣", "1" * 5000, "x" * 9000, [], {}, [[]], [0, 0], [2**62] * 5, {"a": {"b": []}}, "U8", "BF16", "BOOL",
)  # fmt: skip
PIECES = (b"\0", b"\xff", b'"', b"\\u0000", b"{", b"}", b"[" * 3000, b"null", b"1e999", b"-", b",", b'"frames":{},', b"NaN")


def mutated_body(chance: random.Random) -> bytes:
    """A good body with up to three of its header's values, and up to six places of its bytes, changed."""
    spec = SPEC if chance.random() < 0.9 else replace(SPEC, frames=chance.randrange(1, 4))
    clips = [make_clip(seed=chance.randrange(50), spec=spec) for _ in range(chance.choice([1, 1, 2, 9]))]
    body = pack(clips, spec)
    length = int.from_bytes(body[:8], "little")
    header, data = json.loads(body[8 : 8 + length]), body[8 + length :]
    for _ in range(chance.choice([0, 0, 1, 1, 3])):
        _mutate_header(header, chance)
    text = bytearray(json.dumps(header, ensure_ascii=chance.random() < 0.5).encode(errors="surrogatepass"))
    if chance.random() < 0.4:
        for _ in range(chance.choice([1, 1, 2, 6])):
            place = chance.randrange(len(text) + 1)
            text[place : place + chance.randrange(4)] = chance.choice(PIECES)
    said = len(text) if chance.random() < 0.9 else chance.choice([0, 1, 2**16, 2**63, 2**64 - 1, len(text) - 1, len(text) + 8])
    changed = bytearray(said.to_bytes(8, "little") + text + data)
    if chance.random() < 0.3:
        place = chance.randrange(len(changed))
        match chance.randrange(3):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                del changed[place:]
            case _:
                changed[place:place] = chance.randbytes(chance.randrange(1, 40))
    return bytes(changed)


def _mutate_header(header: dict[str, Any], chance: random.Random) -> None:
    name = chance.choice(list(header))
    entry = header[name]
    match chance.randrange(6):
        case 0:
            del header[name]
        case 1:
            header[chance.choice(["extra", "frames", "\ud800", ""])] = chance.choice([entry, *VALUES])
        case 2 if name == "__metadata__" and "spec" in entry:
            values = asdict(SPEC) | {chance.choice([*asdict(SPEC), "more"]): chance.choice(VALUES)}
            entry["spec"] = json.dumps(values)
        case _ if isinstance(entry, dict) and entry:
            key = chance.choice(list(entry))
            values = entry[key]
            if isinstance(values, list) and values and chance.random() < 0.7:
                values[chance.randrange(len(values))] = chance.choice([*VALUES, *range(9)])
            else:
                entry[key] = chance.choice(VALUES)
        case _:
            header[name] = chance.choice(VALUES)


def fuzz_wire(count: int, seed: int) -> Report:
    """Read `count` mutated bodies, and hold each answer against the promise."""
    report = Report("bodies of a served scorer", seed)
    for number in range(count):
        body = mutated_body(random.Random(f"body {seed} {number}"))
        started = time.monotonic()
        outcome, wrong = answer_to(body)
        seconds = time.monotonic() - started
        report.add_time(seconds, f"body {number}")
        report.outcomes[outcome] += 1
        if seconds > SLOW_SECONDS:
            wrong = f"it took {seconds:.1f} s"
        if wrong is not None:
            report.findings.append(Finding("body", f"body {number}: {wrong}", body))
    return report


def answer_to(body: bytes) -> tuple[str, str | None]:
    """What a body is answered with, and what is wrong with that, None where nothing is."""
    try:
        clips = unpack(body, SPEC, STATISTICS, MOST_CLIPS)
    except OtherSpecError as error:
        return "another specification", "it is the same specification" if error.spec == SPEC else None
    except WireError as error:
        return "refused", None if error.reason.isascii() and len(error.reason) < 400 else "the reason is long or not ASCII"
    except Exception as error:
        return "exception", f"{type(error).__name__}: {error}"
    return "read", wrong_clips(clips)


def wrong_clips(clips: list[ModelInput]) -> str | None:
    """What is wrong with clips that were read from a body, None where nothing is."""
    good = make_clip()
    for clip in clips:
        for name in MODEL_INPUTS:
            array, expected = getattr(clip, name), getattr(good, name)
            if array.shape != expected.shape or array.dtype != expected.dtype:
                return f"{name} is {array.dtype} {array.shape}"
        if not np.isfinite(clip.statistics).all():
            return "the statistics are not finite"
    return None if 1 <= len(clips) <= MOST_CLIPS else f"{len(clips)} clips"
