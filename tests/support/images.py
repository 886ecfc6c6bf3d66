"""The images of deploy/images as tests read them, and the core image's contents as tests run them, without a container engine."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.processes import ROOT

IMAGES = ROOT / "deploy/images"
UID = 10001
HOST_FOLDERS = ("usr", "etc", "bin", "sbin", "lib", "lib64")
"""What stands for the base image where there is none: this machine's own folders, read-only."""

BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""PATH of a Debian image."""


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, its continued lines joined. stage: 0 for what follows the first FROM."""

    name: str
    value: str
    stage: int


def read_dockerfile(path: Path) -> list[Instruction]:
    """The instructions of a Dockerfile, in order. Those before the first FROM have the stage -1."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    found, stage = [], -1
    for line in re.sub(r"\\\n\s*", "", text).splitlines():
        if line.strip():
            name, value = line.split(None, 1)
            stage += name == "FROM"
            found.append(Instruction(name, value.strip(), stage))
    return found


def last_stage(instructions: list[Instruction], name: str) -> list[str]:
    """The values of all instructions of that name in the stage that becomes the image."""
    stage = instructions[-1].stage
    return [instruction.value for instruction in instructions if instruction.stage == stage and instruction.name == name]


def environment_of(instructions: list[Instruction]) -> dict[str, str]:
    """The environment that the image sets, with `$PATH` as it is written."""
    return dict(word.split("=", 1) for value in last_stage(instructions, "ENV") for word in shlex.split(value))


class Container:
    """The contents of an image under a folder, run as an engine with a read-only root would run them.

    As user 10001 without capabilities, with the image's environment and nothing of the caller's, where only /data and /tmp can be
    written. The network is this machine's.

    root: the image's root folder. binds: folders of this machine that stand for parts of the image, by their place in it.
    data: the folder that becomes /data.
    """

    def __init__(self, root: Path, binds: dict[str, Path], data: Path, environment: dict[str, str]) -> None:
        self.root, self.binds, self.data, self.environment = root, binds, data, environment
        data.mkdir(parents=True, exist_ok=True)
        os.chown(data, UID, UID)

    def command(self, *words: str, **settings: str) -> list[str]:
        """The command line that runs `words` in the container. settings: environment variables beside the image's."""
        variables = [f"{name}={value}" for name, value in (self.environment | settings).items()]
        user = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", "--no-new-privs", "--bounding-set=-all"]
        inside = ["chroot", str(self.root), *user, "env", "--ignore-environment", "--chdir=/data", *variables, *words]
        return ["unshare", "--mount", "--propagation", "private", "sh", "-euc", self._mounts() + 'exec "$@"', "sh", *inside]

    def run(self, *words: str, seconds: float = 120, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(self.command(*words, **settings), capture_output=True, text=True, timeout=seconds)

    def _mounts(self) -> str:
        root = shlex.quote(str(self.root))
        # Read-only last: a mount point must be there, and what is mounted in the root stays as it is.
        lines = [
            f"mount --bind {root} {root}",
            *_bind_read_only(self.root, self.binds),
            f"mount --rbind /dev {root}/dev",
            f"mount --bind /proc {root}/proc",
            f"mount -t tmpfs -o mode=1777 tmpfs {root}/tmp",
            f"mount --bind {shlex.quote(str(self.data))} {root}/data",
            f"mount -o remount,bind,ro {root}",
        ]
        return "\n".join(lines) + "\n"


def _bind_read_only(root: Path, binds: dict[str, Path]) -> list[str]:
    """Shell lines that mount folders of this machine into `root`, so that nothing can write to them there."""
    lines = []
    for place, folder in binds.items():
        inside = shlex.quote(f"{root}/{place}")
        lines += [f"mount --bind {shlex.quote(str(folder))} {inside}", f"mount -o remount,bind,ro {inside}"]
    return lines


def check_namespaces() -> None:
    """Skip the test where this process may not mount."""
    tried = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", "mount -t tmpfs tmpfs /mnt"],
        capture_output=True,
        text=True,
    )
    if tried.returncode != 0:
        pytest.skip(f"needs root, or rights to mount: {tried.stderr.strip()}")


@contextmanager
def made_by_steps(name: str, folder: Path) -> Iterator[Container]:
    """The image's contents, made by the Dockerfile's own steps in a folder; what comes from the base image is this machine's.

    COPY and RUN of the first stage are done as they are written, with the defaults of ARG, but that uv uses its cache. Of the
    last stage, apt-get's step is left out. name: of the Dockerfile.
    """
    instructions = read_dockerfile(IMAGES / f"{name}.Dockerfile")
    root = folder / "root"
    for place in (*HOST_FOLDERS, "opt", "uv", "source", "cache", "data", "tmp", "proc", "dev", "run"):
        (root / place).mkdir(parents=True)
    hosts = {place: Path("/") / place for place in HOST_FOLDERS if (Path("/") / place).is_dir()}
    arguments = dict(
        shlex.split(item.value)[0].split("=", 1)
        for item in instructions
        if item.name == "ARG" and item.stage < 1 and "=" in item.value
    )
    for instruction in instructions:
        if instruction.stage == 0 and instruction.name == "COPY":
            *sources, target = instruction.value.split()
            _copy([ROOT / source for source in sources], (root / "source" / target))
        elif instruction.stage == 0 and instruction.name == "RUN":
            _run_step(root, hosts, instruction.value.replace(" --no-cache ", " "), arguments)
    for value in last_stage(instructions, "COPY"):
        if not value.startswith("--from"):
            *sources, target = value.split()
            _copy([ROOT / source for source in sources], root / target.lstrip("/"))
    # These were of the first stage only.
    for place in ("uv", "source", "cache"):
        shutil.rmtree(root / place)
    environment = environment_of(instructions)
    path = environment["PATH"].replace("$PATH", BASE_PATH)
    try:
        yield Container(root, hosts, folder / "data", environment | {"PATH": path})
    finally:
        shutil.rmtree(folder)


def _copy(sources: list[Path], target: Path) -> None:
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            place = target / source.name if target.is_dir() else target
            shutil.copy2(source, place)


def _run_step(root: Path, hosts: dict[str, Path], step: str, arguments: dict[str, str]) -> None:
    """Run a step of the first stage as root in `root`, with this machine's network and package settings."""
    cache = Path(os.environ.get("UV_CACHE_DIR") or Path.home() / ".cache/uv")
    cache.mkdir(parents=True, exist_ok=True)
    inside = shlex.quote(str(root))
    mounts = _bind_read_only(root, hosts)
    # /run: where some systems keep resolv.conf.
    mounts += [f"mount --rbind /{place} {inside}/{place}" for place in ("dev", "run")]
    mounts += [f"mount --bind /proc {inside}/proc", f"mount --bind {cache} {inside}/cache"]
    script = "\n".join([*mounts, f'exec chroot {inside} sh -euc "cd /source; $1"'])
    environment = os.environ | arguments | {"HOME": "/tmp", "PATH": BASE_PATH, "UV_CACHE_DIR": "/cache", "UV_LINK_MODE": "copy"}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-euc", script, "sh", step],
        env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{step}\n{done.stderr[-3000:]}"


@contextmanager
def built_with_buildah(name: str, folder: Path) -> Iterator[Container]:
    """The image, built by buildah from the Dockerfile as it is; its base is a Debian that mmdebstrap makes of packages.

    So no image has to be fetched, and what the image lacks, as a system library, is found. Needs root.
    """
    base, tag = "docker.io/library/python:3.11-slim-bookworm", f"localhost/fvq-test-{name}"
    environment = os.environ | {"BUILDAH_ISOLATION": "chroot", "TMPDIR": str(folder)}

    def call(*words: str) -> str:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
        return done.stdout.strip()

    def buildah(command: str, *words: str) -> str:
        return call("buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run"), command, *words)

    context = folder / "base"
    context.mkdir()
    packages = "python3,python3-venv,python3-pip,ca-certificates"
    call("mmdebstrap", "--mode=root", "--variant=apt", f"--include={packages}", "bookworm", str(context / "base.tar"))
    context.joinpath("Dockerfile").write_text(_base_dockerfile(context))
    build = ("build", "--layers=false", "--format=docker", "--pull-never")
    buildah(*build, "--tag", base, str(context))
    buildah(*build, "--file", str(IMAGES / f"{name}.Dockerfile"), "--tag", tag, str(ROOT))
    config = json.loads(buildah("inspect", "--type", "image", tag))["Docker"]["config"]
    assert config["User"] == f"{UID}:{UID}"
    assert "Healthcheck" in config
    container = buildah("from", "--pull-never", tag)
    try:
        root = Path(buildah("mount", container))
        yield Container(root, {}, folder / "data", dict(pair.split("=", 1) for pair in config["Env"]))
    finally:
        buildah("umount", container)
        shutil.rmtree(folder)


def _base_dockerfile(folder: Path) -> str:
    """A Dockerfile that makes the base image of base.tar, with this machine's certificates: a mirror may have one of its own."""
    lines = ["FROM scratch", "ADD base.tar /", "RUN ln -s /usr/bin/python3 /usr/local/bin/python3"]
    certificates = Path("/etc/ssl/certs/ca-certificates.crt")
    if certificates.is_file():
        shutil.copy(certificates, folder)
        lines += [f"COPY {certificates.name} {certificates}", f"ENV SSL_CERT_FILE={certificates} PIP_CERT={certificates}"]
    return "\n".join(lines) + "\n"


def python_is_in_the_base() -> bool:
    """Whether the interpreter that `made_by_steps` uses as the base image's is new enough."""
    tried = subprocess.run(
        ["python3", "-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 11))"],
        env={"PATH": BASE_PATH},
        capture_output=True,
    )
    return tried.returncode == 0 and sys.platform == "linux"
