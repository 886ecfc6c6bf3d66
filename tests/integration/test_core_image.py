"""The core image's contents run: as a user without rights, with a read-only root, without torch.

The contents are made by the Dockerfile's own steps in a folder, on this machine's Python and system libraries; and, where buildah
and mmdebstrap are installed, by buildah on a Debian without any of them.
"""

from __future__ import annotations

import json
import shutil

import pytest

from tests.support.images import Container, build_with_buildah, check_namespaces, follow_steps, python_is_in_the_base

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", params=["steps", "buildah"])
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Container:
    """The contents of the core image."""
    check_namespaces()
    folder = tmp_path_factory.mktemp("core")
    if request.param == "steps":
        if not python_is_in_the_base():
            pytest.skip("needs python3 of 3.11 or newer, with venv, in /usr")
        return follow_steps("core", folder)
    missing = [tool for tool in ("buildah", "mmdebstrap") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return build_with_buildah("core", folder)


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


def test_the_doctor_finds_all_that_the_image_must_have(core: Container) -> None:
    ran = core.run("fvq", "doctor", "--json")
    assert ran.stdout, ran.stderr
    checks = {check["name"]: check for check in json.loads(ran.stdout)["checks"]}
    wanted = {"system libraries", "mediapipe", "ffmpeg", "codecs", "sink", "clip store"}
    assert {name for name in wanted if not checks[name]["ok"]} == set(), checks
