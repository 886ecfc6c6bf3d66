"""What a command loads before it does something: a command that lists a folder must not wait for a model's libraries.

CPU time is a multiple of what Python takes to load numpy and PyAV, so that the limits hold on slow and on busy machines.
"""

from __future__ import annotations

import json
import math
import resource
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from scorer.find import SHIPPED
from tests.support.cpu import cpu_seconds
from tests.support.media import make_clip
from tests.support.processes import PYTHON, clean_environment
from tests.support.servers import free_ports

MODEL = {"torch", "transformers", "peft", "timm", "sklearn", "scipy", "onnx"}
MEDIA = {"av", "cv2", "mediapipe", "matplotlib", "onnxruntime", "imageio_ffmpeg"}
SERVERS = {"faust", "mode", "aiokafka", "aiohttp", "influxdb_client", "starlette", "uvicorn", "ray"}
PROGRAM = """
import json, resource, sys
from pathlib import Path
from streams.cli.app import main
try:
    main()
finally:
    # VmHWM, because ru_maxrss begins with what the process that started this one had.
    own = next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    peak = (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) // 1024
    print("LOADED", json.dumps([sorted({name.partition(".")[0] for name in sys.modules} | set(sys.modules)), peak]))
"""

HELP = MODEL | MEDIA | SERVERS | {"kafka", "numpy", "fsspec", "asyncio", "streams.settings", "streams.events"}
REGISTRY = MODEL | MEDIA | SERVERS | {"kafka", "streams.events"}
TOPICS = MODEL | MEDIA | SERVERS

BUDGETS: dict[str, tuple[list[str], set[str], float]] = {
    # command: (arguments, what it must not load, its CPU time as a multiple of `import numpy, av`)
    "help": (["--help"], HELP, 3.5),
    "help of a group": (["queue", "--help"], HELP, 3.5),
    "models ls": (["models", "ls"], REGISTRY, 6),
    "models show": (["models", "show", "nano"], REGISTRY, 6),
    "models rollback": (["models", "rollback", "nano"], REGISTRY - {"streams.events"}, 6),
    "promote what is not there": (["promote", "nothing", "--reference", "nothing"], MODEL - {"scipy"} | SERVERS, 8),
    "promote instead of nothing": (
        ["promote", str(SHIPPED["nano"]), "--reference", ".", "--rated", ".", "--name", "nothing"],
        MODEL - {"scipy"} | SERVERS,
        8,
    ),
    "evaluate what is not there": (["evaluate", "nothing", "--data", "."], MODEL - {"scipy"} | SERVERS, 8),
    "evaluate what is not there on a benchmark": (["evaluate", "nothing", "--benchmark", "."], MODEL - {"scipy"} | SERVERS, 8),
    "queue ls": (["queue", "ls"], TOPICS, 8),
    "queue show": (["queue", "show", "0"], TOPICS, 8),
    "queue export": (["queue", "export", "out"], TOPICS, 8),
    "queue rm": (["queue", "rm", "0"], TOPICS, 8),
    "dead-letters ls": (["dead-letters", "ls"], TOPICS, 8),
    "topics check": (["topics", "check"], TOPICS, 8),
}

SCORE_BUDGET = 14.0
"""CPU time of `fvq score` of one 2 s file, its sampling child's too, in the same unit."""

SCORE_MB = 350
"""MiB that the command and its child have in memory at most, added up: less is in use, because they share pages."""

FIRST_ANSWER = 5.0
"""CPU time of a worker up to its first line, when its pages answer, in the same unit."""


NEED_BROKER = ("dead-letters ls", "topics check")
"""They wait some seconds for one that does not answer."""


def environment(folder: Path) -> dict[str, str]:
    """A data folder of its own, one thread for each library."""
    settings = {"FVQ_DATA_DIR": str(folder), "COLUMNS": "120"}
    return clean_environment() | settings | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def seconds_of(command: list[str], folder: Path, runs: int = 2, **settings: str) -> tuple[float, str]:
    """CPU seconds of a command and of its children, the least of some runs; and what it printed."""
    times = []
    variables = environment(folder) | settings
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times), done.stdout


def loaded_by(output: str) -> tuple[set[str], int]:
    """The modules that a run of `PROGRAM` had loaded at its end, and the MiB of its processes."""
    modules, megabytes = json.loads(output.rpartition("LOADED ")[2])
    return set(modules), megabytes


def unit_in(folder: Path) -> float:
    """CPU seconds that Python takes to load numpy and PyAV."""
    return seconds_of([PYTHON, "-c", "import numpy, av"], folder)[0]


def in_units(measure: Callable[[], float], folder: Path, most: float) -> float:
    """CPU seconds as measured, in units of `unit_in`.

    most: above it both are measured again, up to two times, because other work on the machine may have slowed one of them.
    """
    ratio = math.inf
    for _ in range(3):
        unit = unit_in(folder)
        ratio = min(ratio, measure() / unit)
        if ratio < most:
            break
    return ratio


def cost_of(command: list[str], folder: Path, most: float, runs: int = 2, **settings: str) -> tuple[float, str]:
    """CPU time of a command in units of `unit_in`, and what it printed. most: as for `in_units`."""
    output = ""

    def measure() -> float:
        nonlocal output
        seconds, output = seconds_of(command, folder, runs, **settings)
        return seconds

    return in_units(measure, folder, most), output


@pytest.mark.parametrize("name", BUDGETS)
def test_a_command_loads_only_what_it_needs(name: str, tmp_path: Path) -> None:
    arguments, forbidden, most = BUDGETS[name]
    broker = {"FVQ_BROKER": "127.0.0.1:1"} if name in NEED_BROKER else {}
    cost, output = cost_of([PYTHON, "-c", PROGRAM, *arguments], tmp_path, most, 1 if broker else 2, **broker)
    assert sorted(loaded_by(output)[0] & forbidden) == []
    assert cost < most, "in loads of numpy and PyAV"


def test_a_short_file_is_scored_with_one_child_and_decoded_in_it_alone(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 640, 360, 2, kind="face")
    cost, output = cost_of([PYTHON, "-c", PROGRAM, "score", "--json", str(clip)], tmp_path, SCORE_BUDGET)
    assert json.loads(output.partition("LOADED ")[0])["score"] > 0
    modules, megabytes = loaded_by(output)
    assert not modules & (MODEL | SERVERS | (MEDIA - {"onnxruntime"}) | {"kafka", "rich", "streams.events"})
    assert megabytes < SCORE_MB
    assert cost < SCORE_BUDGET, "in loads of numpy and PyAV"


def test_a_worker_answers_before_it_loads_its_libraries(tmp_path: Path) -> None:
    # Measured again where that is too much: the worker goes on loading until this test comes to read its time.
    cost = in_units(lambda: cost_of_first_answer(tmp_path), tmp_path, FIRST_ANSWER)
    assert cost < FIRST_ANSWER, "CPU time, in loads of numpy and PyAV"


def cost_of_first_answer(folder: Path) -> float:
    """CPU seconds that a worker has taken when its first line is read. Its pages are checked, too."""
    port = free_ports(1)
    silent = "198.51.100.1:9092"  # an address for documentation: nobody answers, and the worker waits
    settings = environment(folder) | {"FVQ_BROKER": silent, "FVQ_WEB_PORT": str(port)}
    worker = subprocess.Popen([PYTHON, "-c", PROGRAM, "worker"], env=settings, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert worker.stderr is not None
        line = worker.stderr.readline().decode()
        seconds = cpu_seconds(worker.pid)
        assert f"worker starts; pages at http://127.0.0.1:{port}" in line
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as alive:
            assert alive.status == 200
        with pytest.raises(urllib.error.HTTPError, match="503") as answer:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10)
        assert "the worker starts: it " in answer.value.read().decode()
        return seconds
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.communicate()


def test_a_worker_loads_no_decoder_and_no_torch_in_its_own_process(tmp_path: Path) -> None:
    loads = "import json, sys, streams.worker; print('LOADED', json.dumps([sorted(sys.modules), 0]))"
    done = subprocess.run([PYTHON, "-c", loads], env=environment(tmp_path), capture_output=True, text=True, check=True)
    assert not loaded_by(done.stdout)[0] & (MODEL | MEDIA | {"influxdb_client", "starlette", "uvicorn", "rich"})
