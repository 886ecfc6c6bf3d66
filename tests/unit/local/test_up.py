"""The end of a run of `fvq up` with files."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from streams.kafka.connection import Connection
from streams.local import up
from streams.local.run import Run
from streams.local.view import View


def test_ctrl_c_while_the_agents_read_the_last_scores_ends_the_run_with_its_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    def press_ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "wait_for_agents", press_ctrl_c)
    monkeypatch.setattr(up, "_follow", lambda *_: None)
    monkeypatch.setattr(up, "announce", lambda *_: 0)
    run, nothing = Run([], Connection("none:1").named), SimpleNamespace()
    worker: Any = SimpleNamespace(poll=lambda: None)
    up._play(nothing, nothing, View(as_json=True), run, worker, None, fast=True)  # type: ignore[arg-type]
    assert run.interrupted
