"""What a command loads before it does something: a command that lists a folder must not wait for a model's libraries."""

from __future__ import annotations

import json
import resource
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import PYTHON, clean_environment

MODEL = {"torch", "transformers", "peft", "timm", "sklearn", "scipy", "onnx"}
MEDIA = {"av", "cv2", "mediapipe", "matplotlib", "onnxruntime"}
SERVERS = {"faust", "aiokafka", "aiohttp", "influxdb_client", "starlette", "uvicorn", "ray"}
PROGRAM = (
    "import json, sys\nfrom streams.cli.app import main\n"
    "try:\n    main()\nfinally:\n    print('LOADED', json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
)

BUDGETS: dict[str, tuple[list[str], set[str], float]] = {
    # command: (arguments, what it must not load, its CPU time as a multiple of `import numpy, av`)
    "help": (["--help"], MODEL | MEDIA | SERVERS | {"kafka", "numpy", "fsspec"}, 5),
    "help of a group": (["queue", "--help"], MODEL | MEDIA | SERVERS | {"kafka", "numpy", "fsspec"}, 5),
    "models ls": (["models", "ls"], MODEL | MEDIA | SERVERS | {"kafka"}, 7),
    "models rollback": (["models", "rollback", "nano"], MODEL | MEDIA | SERVERS | {"kafka"}, 7),
    "queue ls": (["queue", "ls"], MODEL | MEDIA | SERVERS, 10),
    "dead-letters ls": (["dead-letters", "ls"], MODEL | MEDIA | SERVERS, 10),
    "topics check": (["topics", "check"], MODEL | MEDIA | SERVERS, 10),
}


def cpu_seconds(command: list[str], folder: Path) -> tuple[float, str]:
    """CPU seconds of a command and of its children, the least of two runs; and what it printed."""
    environment = clean_environment() | {"FVQ_DATA_DIR": str(folder), "FVQ_BROKER": "127.0.0.1:1", "COLUMNS": "120"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    times = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times), done.stdout


@pytest.fixture(scope="module")
def unit(tmp_path_factory: pytest.TempPathFactory) -> float:
    """CPU seconds that Python takes to load numpy and PyAV."""
    return cpu_seconds([PYTHON, "-c", "import numpy, av"], tmp_path_factory.mktemp("unit"))[0]


@pytest.mark.parametrize("name", BUDGETS)
def test_a_command_loads_only_what_it_needs(name: str, unit: float, tmp_path: Path) -> None:
    arguments, forbidden, most = BUDGETS[name]
    seconds, output = cpu_seconds([PYTHON, "-c", PROGRAM, *arguments], tmp_path)
    loaded = set(json.loads(output.rpartition("LOADED ")[2]))
    assert not loaded & forbidden
    assert seconds < most * unit, f"{seconds:.2f} CPU s, and {unit:.2f} for numpy and PyAV"
