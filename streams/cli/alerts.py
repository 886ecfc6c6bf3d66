"""`fvq alerts`: check the alerts' policy, and measure how good it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.options import JsonFlag, labels_of
from streams.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The alerts' policy, and how good it is.")

PolicyOption = Annotated[Path | None, typer.Option(help="YAML policy; the one of FVQ_ALERT_POLICY without it.")]
LabelOption = Annotated[list[str] | None, typer.Option("--label", help="A label of the stream, NAME=VALUE; may be repeated.")]


@app.command("check")
def alerts_check(policy: PolicyOption = None, label: LabelOption = None) -> None:
    """Check a policy and its receivers' secrets; print the limits of a stream with these labels as JSON."""
    from streams.alerts.policy import check_policy

    settings = load_settings()
    print(check_policy(policy or settings.alert_policy).of(labels_of(label)).model_dump_json(indent=2))


@app.command("evaluate")
def alerts_evaluate(
    policy: PolicyOption = None,
    label: LabelOption = None,
    days: Annotated[float, typer.Option(min=1, help="Length of all streams together, days.")] = 70.0,
    cuts: Annotated[bool, typer.Option(help="Streams whose shots change framing, not of one camera.")] = False,
    causes: Annotated[bool, typer.Option(help="How often an alert names its cause, and pictures without a face.")] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same streams.")] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Detection delay, missed incidents and false alarms on streams with known incidents, made from real scores."""
    from streams.alerts import cause_backtest
    from streams.alerts.backtest import evaluate, table
    from streams.alerts.policy import load_policy

    limits = load_policy(policy or load_settings().alert_policy).of(labels_of(label))
    if causes:
        result = cause_backtest.evaluate_causes(limits, seed=seed)
        print(json.dumps(cause_backtest.report(result)) if as_json else cause_backtest.table(result))
        return
    report = evaluate(limits, days, cuts, seed).report()
    print(json.dumps(report) if as_json else table(report))
