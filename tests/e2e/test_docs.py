"""The harmless commands of the documentation, run as they stand on the pages, in a folder with what they name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import imageio_ffmpeg
import pytest

from streams.sample_config import sample
from tests.support.documentation import PAGES, Command, commands_of, variants
from tests.support.processes import FVQ, ROOT, clean_environment

CODES = {
    ("score",): 0,
    ("doctor",): 0,
    ("config",): 0,
    ("alerts", "check"): 0,
    ("queue", "ls"): 0,
    ("models", "ls"): 0,
    ("rate", "add"): 0,
    ("rate", "ls"): 0,
    ("worker",): 2,
    ("topics", "create"): 2,
    ("topics", "check"): 2,
}
"""The commands that are run, and their exit codes without a broker."""

PLACEHOLDERS = {"ID": "studio-7"}


def name_of(words: tuple[str, ...]) -> tuple[str, ...] | None:
    """The name in `CODES` with which a command begins; None for a command that is not run."""
    return next((name for name in CODES if words[: len(name)] == name), None)


def commands_to_run() -> list[Command]:
    """Complete commands of all pages that are in `CODES`: of those with the same options the first one."""
    chosen: dict[object, Command] = {}
    for page in PAGES:
        for command in commands_of(page.read_text()):
            program, *words = command.words
            name = name_of(tuple(words))
            # In a sentence a name alone speaks of the command; with arguments it is one to type.
            if program != "fvq" or name is None or not (command.block or len(words) > len(name)):
                continue
            # They need a server, a store with scores, a large model, or an address that is only an example.
            needs = any("://" in word or word in ("--for", "--diff", "LARGE") for word in words)
            if needs or "FVQ_BROKER" in command.settings:
                continue
            for form in variants(tuple(words)):
                options = frozenset(word for word in form if word.startswith("--"))
                chosen.setdefault((name, options, *command.settings), Command(command.settings, form, command.block))
    return list(chosen.values())


COMMANDS = commands_to_run()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages' commands name: videos, a model, a policy."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "recordings").mkdir()
    cut = ["-t", "2", "-i", str(ROOT / "examples/face.mp4"), "-c:v", "libx264", "-crf", "12", str(folder / "talk.mp4")]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *cut], check=True)
    for copy in ("clip.mp4", "recordings/monday.mp4"):
        shutil.copy(folder / "talk.mp4", folder / copy)
    shutil.copytree(ROOT / "scorer/nano", folder / "MODEL")
    shutil.copy(ROOT / "examples/alert-policy.yaml", folder / "policy.yaml")
    (folder / "fvq.toml").write_text(sample())
    return folder


def test_every_kind_of_command_that_is_run_is_on_a_page() -> None:
    assert {name_of(command.words) for command in COMMANDS} == set(CODES)


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_does_what_the_page_says(command: Command, folder: Path) -> None:
    arguments = [PLACEHOLDERS.get(word, word) for word in command.words]
    environment = clean_environment() | command.settings
    done = subprocess.run([FVQ, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=240)
    name = name_of(command.words)
    assert name is not None
    assert done.returncode == CODES[name], done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if CODES[name] == 2:
        assert "FVQ_BROKER: is not set" in done.stderr
    else:
        assert done.stdout.strip() or name == ("rate", "ls"), "nothing was printed"
    if "--plot" in arguments:
        assert (folder / arguments[arguments.index("--plot") + 1]).is_file()
