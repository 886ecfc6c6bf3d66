"""What the command line imports: `fvq --help` and `fvq models ls` must not wait for the heavy libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"torch", "transformers", "kafka", "faust", "aiohttp", "cv2", "mediapipe", "av", "matplotlib"}
HELP = "import streams.cli.app"
MODELS_LS = "from streams.cli.app import app; app(['models', 'ls', '--json'], standalone_mode=False)"


@pytest.mark.parametrize("statement", [HELP, MODELS_LS], ids=["help", "models ls"])
def test_no_heavy_library_is_imported(statement: str, tmp_path: Path) -> None:
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"FVQ_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    modules = set(json.loads(result.stdout.splitlines()[-1]))
    assert "streams.cli.app" in modules
    assert not modules & HEAVY
