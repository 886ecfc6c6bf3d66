"""The whole loop on a real Kafka, as `make loop-demo` shows it: score, queue, rate, train, promote, score again."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import PYTHON, ROOT, clean_environment
from tests.support.servers import KafkaServer


@pytest.mark.timeout(1800)
def test_a_rated_queue_makes_a_model_that_is_closer_to_the_ratings(kafka: KafkaServer, tmp_path: Path) -> None:
    command = [PYTHON, "examples/loop.py", "--json", "--keep", str(tmp_path / "loop"), "--broker", kafka.broker]
    # Settings of another system, which the demo must not use: a broker that does not exist, and folders that must stay absent.
    environment = clean_environment() | {
        "FVQ_BROKER": "127.0.0.1:1",
        "FVQ_REGISTRY": str(tmp_path / "registry"),
        "FVQ_CLIP_STORE": str(tmp_path / "store"),
    }
    finished = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1700)
    log = tmp_path / "loop/worker.log"
    assert finished.returncode == 0, finished.stdout + finished.stderr + (log.read_text()[-2000:] if log.exists() else "")
    report = json.loads(finished.stdout)
    assert report["closed"]
    assert not (tmp_path / "registry").exists()
    assert not (tmp_path / "store").exists()
    assert report["gate"]["passed"]
    assert len(report["gate"]["checks"]) == 4
    before, after = report["models"]
    assert before != after
    unseen = [row for row in report["clips"] if row["split"] == "test"]
    assert len(unseen) >= 5
    assert report["error"]["after"] < 0.8 * report["error"]["before"]
