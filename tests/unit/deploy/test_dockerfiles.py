"""The Dockerfiles: hadolint finds nothing, the two agree, and what they name exists."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import typer.main

from streams.cli.app import app
from streams.settings import Settings
from tests.support.images import IMAGES, Instruction, environment_of, last_stage, read_dockerfile
from tests.support.processes import PYTHON, ROOT

DOCKERFILES = sorted(IMAGES.glob("*.Dockerfile"))
CORE, GPU = IMAGES / "core.Dockerfile", IMAGES / "gpu.Dockerfile"
COMMANDS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.stem)
def instructions(request: pytest.FixtureRequest) -> list[Instruction]:
    return read_dockerfile(request.param)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(path: Path) -> None:
    checked = subprocess.run([str(Path(PYTHON).parent / "hadolint"), str(path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(("image", "name", "file"), [("core", "", "core"), ("gpu", "-gpu", "gpu"), ("ray", "-ray", "gpu")])
def test_the_builder_is_told_what_to_build(tmp_path: Path, image: str, name: str, file: str) -> None:
    builder = tmp_path / "docker"
    builder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    builder.chmod(0o755)
    command = [str(IMAGES / "build"), image, "--build-arg", "PYTHON=base@sha256:0"]
    told = subprocess.run(command, env=os.environ | {"FVQ_BUILDER": str(builder)}, capture_output=True, text=True, check=True)
    words = told.stdout.splitlines()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert words[:5] == ["build", "--file", f"deploy/images/{file}.Dockerfile", "--tag", f"fvq-monitor{name}:{version}"]
    assert {f"VERSION={version}", "PYTHON=base@sha256:0"} <= set(words)
    assert ("EXTRA=ray" in words) == (image == "ray")
    assert words[-1] == "."


def test_every_extra_of_the_builder_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    default = {
        item.value.partition("=")[2]
        for path in DOCKERFILES
        for item in read_dockerfile(path)
        if item.name == "ARG" and item.value.startswith("EXTRA=")
    }
    assert default == {"demo", "serve"}
    named = {*default, *" ".join(re.findall(r'EXTRA="?(\w+(?: \w+)*)', (IMAGES / "build").read_text())).split()}
    assert named == {"demo", "serve", "train", "ray", "s3"} <= set(extras)


@pytest.mark.parametrize(
    ("extra", "options"), [("", []), ("s3", ["--extra", "s3"]), ("serve gs", ["--extra", "serve", "--extra", "gs"])]
)
def test_each_extra_becomes_an_option(tmp_path: Path, extra: str, options: list[str]) -> None:
    (step,) = [item.value for item in read_dockerfile(CORE) if "--requirement" in item.value]
    asked = tmp_path / "uv"
    asked.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    asked.chmod(0o755)
    step = step.replace("/uv/bin/uv", str(asked))
    told = subprocess.run(["sh", "-euc", step], env={"EXTRA": extra}, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-len(options) - 2 :] == ["--requirement", "pyproject.toml", *options]


def test_hadolint_finds_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "Dockerfile"
    path.write_text("FROM python\nRUN cd /tmp && sudo true\n")
    assert subprocess.run([str(Path(PYTHON).parent / "hadolint"), str(path)], capture_output=True).returncode == 1


def test_the_gpu_image_differs_only_where_it_must() -> None:
    core, gpu = ({(item.name, item.value) for item in read_dockerfile(path)} for path in (CORE, GPU))
    names = sorted(name for name, _ in gpu - core)
    assert names == ["ARG", "ENV", "LABEL"]
    assert ("ARG", "EXTRA=serve") in gpu - core


def test_the_image_runs_fvq_as_a_user_of_its_own(instructions: list[Instruction]) -> None:
    assert last_stage(instructions, "USER") == ["10001:10001"]
    assert last_stage(instructions, "ENTRYPOINT") == ['["fvq"]']
    (command,) = last_stage(instructions, "CMD")
    assert json.loads(command)[0] in COMMANDS


def test_every_setting_exists_and_none_is_a_secret(instructions: list[Instruction]) -> None:
    fields = {f"FVQ_{name.upper()}": field for name, field in Settings.model_fields.items()}
    named = {name for name in environment_of(instructions) if name.startswith("FVQ_")}
    assert named <= set(fields)
    assert not [name for name in named if "SecretStr" in str(fields[name].annotation)]


def test_nothing_that_builds_is_in_the_last_stage(instructions: list[Instruction]) -> None:
    copied = [value.split()[-2:] for value in last_stage(instructions, "COPY")]
    assert copied == [["/opt/fvq", "/opt/fvq"], ["deploy/images/healthcheck.py", "/opt/healthcheck.py"]]
    (step,) = last_stage(instructions, "RUN")
    assert "pip" not in step
    assert "--no-install-recommends" in step


def test_the_context_has_what_is_copied_and_nothing_else(instructions: list[Instruction]) -> None:
    copied = {
        source
        for item in instructions
        if item.name == "COPY" and not item.value.startswith("--from")
        for source in shlex.split(item.value)[:-1]
    }
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    # A folder that is let in and shut again by `folder/*` is only the way to a file in it.
    let_in -= {line.removesuffix("/*") for line in lines if line.endswith("/*")}
    assert let_in == copied
    assert all((ROOT / source).exists() for source in copied)


def test_the_version_is_said_when_the_image_is_built(instructions: list[Instruction]) -> None:
    (label,) = last_stage(instructions, "LABEL")
    labels = dict(word.split("=", 1) for word in shlex.split(label))
    assert labels["org.opencontainers.image.version"] == "${VERSION}"
    said = set(re.findall(r'--build-arg "(\w+)=', (IMAGES / "build").read_text()))
    assert said == {"VERSION", "REVISION"}
    assert said <= {value.split("=")[0] for value in last_stage(instructions, "ARG")}
