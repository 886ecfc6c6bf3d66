"""The tables of `fvq evaluate` and `fvq promote`, with names from outside in them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.table import Table

from scorer import load
from scorer.spec import ModelId
from streams import parts
from streams.cli.promote import promote
from streams.cli.training import evaluate
from streams.errors import BrokerError
from tests.support.processes import ROOT
from training.evaluation import gate, report
from training.evaluation.agreement import FIGURES
from training.evaluation.gate import Verdict, table
from training.evaluation.report import tables

NAME = "old [/x] [red]a"


def shown(table: Table, width: int = 200) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def test_names_in_the_report_are_no_markup() -> None:
    figures = dict.fromkeys(FIGURES, 0.5) | {"by_kind": {NAME: {"n": 3, "srcc": 0.5, "right": 1, "steps": 2}}}
    report = {
        "clips": [], "data": NAME, "model": NAME, "methods": {NAME: figures},
        "intervals": dict.fromkeys(FIGURES, (0.1, 0.9)), "calibration": {},
    }  # fmt: skip
    methods, kinds, _ = tables(report)
    assert shown(methods).count(NAME) == 2
    assert shown(kinds).count(NAME) == 2


def test_figures_that_nothing_tells_are_dashes_and_none_is_cut_off() -> None:
    nothing, none = float("nan"), {"n": 1, "srcc": float("nan"), "right": 0, "steps": 0}
    report = {
        "clips": [], "data": "d", "model": "m", "methods": {"m": dict.fromkeys(FIGURES, nothing) | {"by_kind": {"x264": none}}},
        "intervals": dict.fromkeys(FIGURES, (nothing, nothing)), "calibration": {"error_rest": nothing},
    }  # fmt: skip
    for text in map(shown, tables(report)):
        assert "nan" not in text
        assert "-" in text
    report["methods"]["m"] |= dict.fromkeys(FIGURES, 0.912)
    report["intervals"] = dict.fromkeys(FIGURES, (0.801, 0.987))
    narrow = shown(tables(report)[0], width=70)
    assert "…" not in narrow
    assert (narrow.count("0.912"), narrow.count("0.801"), narrow.count("0.987")) == (len(FIGURES) - 1,) * 3


def test_what_was_found_is_printed_also_where_the_scatter_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"clips": [], "model": "m", "methods": {"m": {"srcc": 0.5, "srcc_within": 0.5}}}
    monkeypatch.setattr(load, "load_engine", lambda *_: None)
    monkeypatch.setattr(report, "evaluate", lambda *_: found)
    (tmp_path / "scatter.png").mkdir()
    with pytest.raises(IsADirectoryError, match=r"scatter\.png"):
        evaluate("nano", data=tmp_path, plot=tmp_path / "scatter.png", as_json=True)
    assert json.loads(capsys.readouterr().out) == found


def test_names_in_the_picture_are_no_formulas_and_figures_that_nothing_tells_are_dashes(tmp_path: Path) -> None:
    clip = {"content": r"_$\anna$", "mos": 50.0, "score": 40.0, "uncertainty": 5.0}
    figures = dict.fromkeys(FIGURES, float("nan"))
    picture = tmp_path / "scatter.svg"
    report.plot({"clips": [clip], "model": r"$\m$", "methods": {r"$\m$": figures}}, picture)
    written = picture.read_text()
    assert r"$\m$: SRCC -, within content -" in written
    assert r"_$\anna$" in written


def test_a_verdict_is_printed_also_where_no_worker_can_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(*_: object) -> None:
        raise BrokerError("the broker is away")

    verdict = Verdict("old", "new", [])
    monkeypatch.setenv("FVQ_DATA_DIR", str(tmp_path))
    monkeypatch.setattr("scorer.load.load_engine", lambda *_: SimpleNamespace(model=ModelId("nano", "old")))
    for name in ("scorer.runtime.export.export_graph", "streams.models.publish.publish"):
        monkeypatch.setattr(name, lambda *_: object())
    for name in ("gate_of", "recipe_seed"):
        monkeypatch.setattr(gate, name, lambda *_: None)
    monkeypatch.setattr(gate, "judge", lambda *_: verdict)
    monkeypatch.setattr(parts, "announce_update", away)
    with pytest.raises(BrokerError):
        promote(ROOT / "scorer/nano", tmp_path, rated=tmp_path, as_json=True)
    assert json.loads(capsys.readouterr().out) == verdict.as_dict()


def test_names_in_a_verdict_are_no_markup() -> None:
    assert f"{NAME} -> {NAME}" in shown(table(Verdict(NAME, NAME, [])))
