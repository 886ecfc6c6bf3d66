"""The core image's contents run: as a user without rights, with a read-only root, without torch.

The contents are made by the Dockerfile's own steps in a folder, on this machine's Python and system libraries; and, where buildah
and mmdebstrap are installed, by buildah on a Debian without any of them.
"""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.kafka.embedded import EmbeddedBroker
from tests.support.images import Container, built_with_buildah, check_namespaces, made_by_steps, python_is_in_the_base
from tests.support.processes import FVQ, ROOT, clean_environment
from tests.support.servers import free_ports
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=["steps", "buildah"])
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """The contents of the core image."""
    check_namespaces()
    folder = tmp_path_factory.mktemp("core")
    if request.param == "steps":
        if not python_is_in_the_base():
            pytest.skip("needs python3 of 3.11 or newer, with venv, in /usr")
        with made_by_steps("core", folder) as container:
            yield container
        return
    missing = [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with built_with_buildah("core", folder) as container:
        yield container


def test_its_command_line_works(core: Container) -> None:
    shown = core.run("fvq", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "worker" in shown.stdout


def test_it_runs_as_nobody_and_can_write_its_data_only(core: Container) -> None:
    script = """
import json, os
written = {}
for folder in ("/", "/opt/fvq", "/usr/bin", "/tmp", "/data"):
    try:
        open(folder + "/probe", "w").close()
        written[folder] = True
    except OSError:
        written[folder] = False
names = [name for name in os.environ if name.startswith("FVQ_")]
print(json.dumps([os.getuid(), os.getgroups(), written, os.environ["FVQ_DATA_DIR"], len(names)]))
"""
    ran = core.run("python", "-c", script)
    assert ran.returncode == 0, ran.stderr
    uid, groups, written, data, settings = json.loads(ran.stdout)
    assert (uid, groups, data, settings) == (10001, [], "/data", 2)
    assert written == {"/": False, "/opt/fvq": False, "/usr/bin": False, "/tmp": True, "/data": True}


def test_no_torch_is_in_it(core: Container) -> None:
    script = """
import importlib.util, json
unwanted = ("torch", "transformers", "peft", "timm", "scipy", "pip", "uv", "pytest")
print(json.dumps([name for name in unwanted if importlib.util.find_spec(name)]))
"""
    ran = core.run("python", "-I", "-c", script)
    assert json.loads(ran.stdout or "null") == [], ran.stderr


def test_it_scores_a_video_by_itself(core: Container) -> None:
    shutil.copy(ROOT / "examples/face.mp4", core.data)
    ran = core.run("fvq", "score", "--json", "/data/face.mp4", FVQ_SAMPLER_WORKERS="1")
    assert ran.returncode == 0, ran.stderr
    assert 45 < json.loads(ran.stdout)["score"] < 70


def test_the_doctor_finds_all_that_the_image_must_have(core: Container) -> None:
    ran = core.run("fvq", "doctor", "--json")
    assert ran.stdout, ran.stderr
    checks = {check["name"]: check for check in json.loads(ran.stdout)["checks"]}
    wanted = {"model", "system libraries", "detectors", "ffmpeg", "codecs", "sink", "clip store"}
    assert {name for name in wanted if not checks[name]["ok"]} == set(), checks


def test_a_worker_waits_for_its_scorer_and_then_scores(core: Container, tmp_path: Path) -> None:
    """The broker and the scorer run on this machine; announcing, sampling, storing and the health check in the container."""
    shutil.copy(ROOT / "examples/face.mp4", core.data)
    page = free_ports(2)
    scorer = page + 1
    log = tmp_path / "log"
    with EmbeddedBroker() as broker, log.open("wb") as output:
        settings = {
            "FVQ_BROKER": broker.address,
            "FVQ_WEB_PORT": str(page),
            "FVQ_SCORER_URL": f"http://127.0.0.1:{scorer}",
            "FVQ_MEDIA_ROOTS": "/data",
            "FVQ_LIVE_WINDOW": "off",
            "FVQ_SAMPLER_WORKERS": "1",
        }
        for words in (("topics", "create"), ("ingest", "--source", "/data/face.mp4", "--fast")):
            done = core.run("fvq", *words, **settings)
            assert done.returncode == 0, done.stderr
        worker = subprocess.Popen(core.command("fvq", "worker", **settings), stdout=output, stderr=output)
        served = None
        try:
            wait_for("the worker is healthy", lambda: core.run("python", "/opt/healthcheck.py", **settings).returncode == 0, 180)
            waiting = core.run("python", "/opt/healthcheck.py", str(page), "/readyz")
            assert waiting.returncode == 1
            assert "503" in waiting.stderr
            assert worker.poll() is None
            assert "torch" not in Path(f"/proc/{worker.pid}/maps").read_text()
            served = subprocess.Popen(
                [FVQ, "serve"], env=clean_environment() | {"FVQ_SERVE_PORT": str(scorer)}, stdout=output, stderr=output
            )
            scores = core.data / "scores.sqlite"
            wait_for("segments are scored", lambda: count_scored(scores) >= 3, 240)
            worker.send_signal(signal.SIGTERM)
            code = worker.wait(90)
            assert code == 0 or "did not stop within" in log.read_text(), log.read_text()[-3000:]
        except BaseException:
            print(log.read_text()[-5000:])
            raise
        finally:
            for process in (worker, served):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait(10)


def count_scored(store: Path) -> int:
    """Scored segments in a worker's SQLite store."""
    if not store.exists():
        return 0
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        tables = database.execute("select count(*) from sqlite_master where name = 'scores'").fetchone()[0]
        return database.execute("select count(*) from scores where status = 'scored'").fetchone()[0] if tables else 0
