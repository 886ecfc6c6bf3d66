"""Fixtures and options for all tests."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from scorer import model_check
from scorer.model_files import check_model_files
from tests.support.media import make_clip, make_odd_file

# A time limit of each example fails good code on a machine that does other work; pytest's limit of a whole test stays.
hypothesis.settings.register_profile("any-speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("any-speed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos", action="store_true", help="run all fault tests, with faults of minutes instead of seconds")
    parser.addoption("--chaos-rows", help="file to which the fault tests append one JSON line for each fault")


def pytest_configure() -> None:
    """A shell lets what it runs in the background ignore Ctrl-C, and with it all processes that tests start and interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def odd_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function that makes the file of `tests.support.media.ODD_FILES` with a given name, once."""
    folder = tmp_path_factory.mktemp("odd")
    return lambda name: make_odd_file(folder, name)


@pytest.fixture(scope="session")
def face_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of a real face, 640x360, 25 frames per second."""
    return make_clip(tmp_path_factory.mktemp("face") / "face.mp4", 640, 360, 4, kind="face")


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take this process' own settings out of its environment."""
    for name in [name for name in os.environ if name.startswith("FVQ_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def log_as_before() -> Iterator[None]:
    """Put the root logger's handlers and all loggers' levels back, which `configure_logging` sets."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in list(root.manager.loggerDict)}
    yield
    root.handlers[:], root.level = handlers, level
    for name in list(root.manager.loggerDict):
        logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


@pytest.fixture(autouse=True)
def _models_without_a_child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process load models without trying them in a child first, which takes seconds each time.

    Tests of that child have the marker `model_check`. Workers and commands that a test starts always try theirs.
    """
    if request.node.get_closest_marker("model_check") is None:
        monkeypatch.setattr(model_check, "check_model", lambda directory, _device: check_model_files(directory))
