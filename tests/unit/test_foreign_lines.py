"""In JSON each line of both streams is JSON, whoever writes it."""

from __future__ import annotations

import json
import subprocess

from tests.support.processes import PYTHON, clean_environment

NOISE = """
import ctypes, logging, os, subprocess, sys, warnings
from contextlib import nullcontext
from streams.foreign_lines import foreign_lines_logged
from streams.logs import configure_logging

configure_logging("info", "json")
with foreign_lines_logged():
    logging.getLogger("streams.x").info("ours")
    print("a banner")
    os.write(2, b"I0000 00:00:17 gl_context.cc:344] GL version: 3.0\\n")
    os.write(2, b"loading 10%\\rloading 100%\\n\\n")
    ctypes.CDLL(None).puts(b"from C")
    ctypes.CDLL(None).fflush(None)
    warnings.warn("this is deprecated")
    subprocess.run([sys.executable, "-c", "print('of a child')"])
    os.write(1, b"x" * 200_000 + b"\\xff\\n")
    os.write(2, b"no end of line")
{end}
"""


def run(end: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [PYTHON, "-c", NOISE.replace("{end}", end)], env=clean_environment(), capture_output=True, timeout=60, check=False
    )


def test_every_line_is_json_and_none_is_missing() -> None:
    done = run()
    assert done.stdout == b""
    records = [json.loads(line) for line in done.stderr.decode().splitlines()]
    told = {(record["logger"], record["message"]) for record in records}
    assert told >= {
        ("streams.x", "ours"),
        ("stdout", "a banner"),
        ("stderr", "I0000 00:00:17 gl_context.cc:344] GL version: 3.0"),
        ("stderr", "loading 10%"),
        ("stderr", "loading 100%"),
        ("stdout", "from C"),
        ("stdout", "of a child"),
        ("stderr", "no end of line"),
    }
    assert any("this is deprecated" in record["message"] for record in records if record["logger"] == "py.warnings")
    assert all(record["message"] for record in records)
    long = [record["message"] for record in records if record["message"].startswith("xxxx")]
    assert len(long) == 4, "a long line comes in pieces, each of which the log cuts"
    assert all("characters)" in text for text in long)


def test_after_it_the_streams_are_as_before() -> None:
    done = run("print('plain')")
    assert done.stdout == b"plain\n"
    assert all(json.loads(line) for line in done.stderr.splitlines())
