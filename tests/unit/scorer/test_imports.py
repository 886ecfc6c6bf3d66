"""Modules that a worker without a model imports: they load no library that is only for the model, and none of the tests."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

LIGHT = (
    "errors", "process", "spec", "storage", "registry", "sampling", "sampling.sampler", "sampling.pool", "sampling.child",
    "remote.wire", "remote.client",
)  # fmt: skip
CODE = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(f"scorer.{name}")
    heavy = sorted({"torch", "transformers", "peft", "timm", "safetensors", "mediapipe", "matplotlib"} & set(sys.modules))
    assert not heavy, f"scorer.{name} loads {heavy}"
"""


def test_light_modules_load_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", CODE, *LIGHT], timeout=120, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_mediapipe_looks_up_no_host() -> None:
    """From 0.10.35 on its library has libcurl in it, and looks up play.googleapis.com when a detector is made."""
    package = find_spec("mediapipe")
    assert package is not None
    assert package.origin is not None
    library = Path(package.origin).parent / "tasks/c/libmediapipe.so"
    assert b"getaddrinfo" not in library.read_bytes()
