"""The tables of `fvq evaluate` and `fvq promote`, with names from outside in them."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from training.evaluation.gate import Verdict, table
from training.evaluation.report import FIGURES, tables

NAME = "old [/x] [red]a"


def shown(table: Table) -> str:
    console = Console(width=200)
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


def test_names_in_a_verdict_are_no_markup() -> None:
    assert f"{NAME} -> {NAME}" in shown(table(Verdict(NAME, NAME, [])))
