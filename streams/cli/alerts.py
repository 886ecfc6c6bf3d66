"""`fvq alerts`: the alerts' policy and how good it is, a test of its receivers, and acknowledgements."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, labels_of, lists, load_settings
from streams.cli.table import print_table, progress_shown
from streams.errors import EventError, SettingsError
from streams.text import counted, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from streams.settings import Settings

app = typer.Typer(help="Alerts: their policy, their receivers, and who has seen them.")

PolicyOption = Annotated[Path | None, typer.Option(help="YAML policy; the one of FVQ_ALERT_POLICY without it.")]
AlertsArgument = Annotated[list[str], typer.Argument(metavar="ALERT_ID...", help="The alerts' `alert_id`.")]
LabelOption = Annotated[list[str] | None, typer.Option("--label", help="A label of the stream, NAME=VALUE; may be repeated.")]
DaysOption = Annotated[float, typer.Option(min=0.01, max=366, help="How many days up to now.")]
StreamOption = Annotated[list[str] | None, typer.Option("--stream", help="Only this stream; may be repeated.")]


@app.callback(invoke_without_command=True)
def alerts(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Alerts: their policy, their receivers, and who has seen them. Without a command: `fvq alerts ls`."""
    if lists(context, as_json):
        alerts_ls(as_json=as_json)


@app.command("ls")
def alerts_ls(
    everything: Annotated[bool, typer.Option("--all", help="Also alerts that are over.")] = False,
    kind: Annotated[list[str] | None, typer.Option(help="Only alerts of this kind, as black; may be repeated.")] = None,
    stream: Annotated[str | None, typer.Option(help="Only this stream's alerts.")] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(help="NAME:VALUE: only of streams with this label; repeated, several values of a name mean any."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Most alerts.")] = 50,
    as_json: JsonFlag = False,
) -> None:
    """List alerts, the latest first: those that fire now. It asks the wall at FVQ_WEB_URL, or on this machine."""
    from streams.web.ask import items_of

    query: dict[str, str | list[str]] = {"state": "all" if everything else "firing", "kind": kind or [], "label": label or []}
    if stream is not None:
        query["stream_id"] = stream
    known = list(items_of(parts.wall_address(load_settings()), "/alerts", query, limit + 1))
    items = known[:limit]
    if as_json:
        print(json.dumps(items))
        return
    rows = [
        (
            str(item["alert"]["alert_id"]), str(item["alert"]["stream_id"]), str(item["alert"]["kind"]),
            str(item["alert"]["started_at"]), str(item["alert"].get("ended_at", "")),
            str((item["ack"] or {}).get("by", "")), str(item["alert"].get("summary", "")),
        )
        for item in items
    ]  # fmt: skip
    columns = ("alert", "stream", "kind", "since", "until", "seen by", "what")
    title = counted(len(rows), "alert") if everything else counted(len(rows), "alert fires", "alerts fire")
    if len(known) > limit:
        title = f"the latest {counted(limit, 'alert')} of more: --limit lists them"
    print_table(columns, rows, title=title, whole=("alert", "stream"))


@app.command("check")
def alerts_check(
    policy: PolicyOption = None,
    label: LabelOption = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print what --policy changes against FVQ_ALERT_POLICY, over the last days.")
    ] = False,
    days: DaysOption = 1.0,
) -> None:
    """Check a policy and its receivers' secrets; print the limits of a stream with these labels as JSON, and its maintenance."""
    from streams.alerts.policy import check_policy

    settings = load_settings()
    checked = check_policy(*_named(policy, "--policy", settings))
    if not diff:
        labels, now = labels_of(label), datetime.now(UTC)
        for number, work in enumerate(checked.maintenance):
            if work.concerns(labels):
                print(f"maintenance[{number}]: {work.described(now)}", file=sys.stderr)
        print(checked.of(labels).model_dump_json(indent=2))
        return
    if policy is None:
        raise SettingsError("--diff", "compares a new policy with that of FVQ_ALERT_POLICY: name the new one with --policy")
    _backtest(settings, (policy, "--policy"), _named(None, "", settings), days, label, None, as_json=False)


@app.command("backtest")
def alerts_backtest(
    policy: Annotated[Path, typer.Argument(help="The new policy, YAML.")],
    against: Annotated[Path | None, typer.Option(help="Today's policy; that of FVQ_ALERT_POLICY without it.")] = None,
    days: DaysOption = 1.0,
    stream: StreamOption = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="NAME=VALUE that all streams carry beside their own; may be repeated.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What a new policy would have done: the stored scores of the last days by it and by today's, and which alerts differ."""
    settings = load_settings()
    _backtest(settings, (policy, "POLICY"), _named(against, "--against", settings), days, label, stream, as_json=as_json)


def _named(policy: Path | None, option: str, settings: Settings) -> tuple[Path | None, str]:
    """The policy that an option names, else that of the setting; and what named it, for errors."""
    return (policy, option) if policy else (settings.alert_policy, "FVQ_ALERT_POLICY")


def _backtest(
    settings: Settings,
    new: tuple[Path | None, str],
    today: tuple[Path | None, str],
    days: float,
    label: list[str] | None,
    streams: list[str] | None,
    *,
    as_json: bool,
) -> None:
    import asyncio

    from streams.alerts.past import Backtest, backtest, report, table
    from streams.alerts.policy import load_policy

    policies, labels = (load_policy(*today), load_policy(*new)), labels_of(label)
    end = datetime.now(UTC)

    async def run() -> Backtest:
        history = parts.history(settings)
        try:
            with progress_shown() as show:
                return await backtest(history, policies, end - timedelta(days=days), end, streams or (), labels, show)
        finally:
            await history.close()

    result = asyncio.run(run())
    if settings.influx_url and any(policy.overrides for policy in policies) and not labels:
        print("InfluxDB keeps no labels of streams: no override applies; see --label", file=sys.stderr)
    print(json.dumps(report(result)) if as_json else table(result))


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

    limits = load_policy(*_named(policy, "--policy", load_settings())).of(labels_of(label))
    if causes:
        result = cause_backtest.evaluate_causes(limits, seed=seed)
        print(json.dumps(cause_backtest.report(result)) if as_json else cause_backtest.table(result))
        return
    report = evaluate(limits, days, cuts, seed).report()
    print(json.dumps(report) if as_json else table(report))


@app.command("send-test")
def alerts_send_test(
    receiver: Annotated[str, typer.Argument(help="The receiver's name in the policy.")], policy: PolicyOption = None
) -> None:
    """Send a made-up alert to a receiver, and its end; says what was sent and answered. Exit code 1 where it is refused."""
    from streams.alerts.policy import load_policy
    from streams.alerts.sample import send_test

    settings = load_settings()
    checked = load_policy(*_named(policy, "--policy", settings))
    for alert, answered in send_test(checked, receiver, settings.web_url or "", datetime.now(UTC)):
        print(f"sent to {receiver}: {alert.state}, {alert.severity}: {printable(alert.summary)}; answered: {answered}")


@app.command("ack")
def alerts_ack(
    alert_ids: AlertsArgument,
    by: Annotated[str, typer.Option(help="Who has seen the alerts.")],
    note: Annotated[str, typer.Option(help="A note for the others.")] = "",
    until: Annotated[
        str | None,
        typer.Option(help="From then on they are told again: a time, as 2026-01-31T20:15:00Z, or a length, as 30m, 2h or 1d."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Acknowledge alerts: they stay visible, and are not told again. Exit code 1 where one could not be."""
    from streams.alerts.acknowledge import acknowledge, check_is_free, ending
    from streams.alerts.acks_topic import AcksTopic, find_alerts
    from streams.topic_names import ALERTS_TOPIC

    connection, now = parts.connection(load_settings()), datetime.now(UTC)
    end = ending(until, now) if until else None
    known = find_alerts(connection, alert_ids)
    with AcksTopic(connection) as topic:
        before = topic.refresh()

        def take(alert_id: str) -> str:
            alert = known.get(alert_id)
            if alert is None:
                topic_name = connection.named(ALERTS_TOPIC)
                raise EventError("", f"there is no alert {alert_id!r}: {topic_name} and the receivers have its `alert_id`")
            if alert.ended_at is not None:
                raise EventError("", f"alert {alert_id} is over since {alert.ended_at:%Y-%m-%d %H:%M:%S} UTC")
            acknowledgement = acknowledge(alert_id, alert.stream_id, by, now, note, end)
            check_is_free(before.of(alert_id, now), acknowledgement.by)
            topic.send(acknowledgement)
            return f"{printable(alert.summary or alert.kind)}; acknowledged by {printable(acknowledgement.by)}"

        _each(alert_ids, take, "acknowledged", as_json=as_json)


@app.command("unack")
def alerts_unack(alert_ids: AlertsArgument, as_json: JsonFlag = False) -> None:
    """Take acknowledgements back: the alerts are told again. Exit code 1 where there was none."""
    from streams.alerts.acks_topic import AcksTopic

    with AcksTopic(parts.connection(load_settings())) as topic:
        known = {acknowledgement.alert_id: acknowledgement for acknowledgement in topic.refresh().known()}

        def take_back(alert_id: str) -> str:
            if alert_id not in known:
                raise EventError("", f"nobody has acknowledged an alert {alert_id!r}")
            topic.take_back(alert_id)
            return f"the acknowledgement of {printable(known[alert_id].by)} is taken back"

        _each(alert_ids, take_back, "taken_back", as_json=as_json)


def _each(alert_ids: Sequence[str], change: Callable[[str], str], done: str, *, as_json: bool) -> None:
    """Change alerts one by one and print what is said of each; one that is refused is told, and the others are changed.

    done: what JSON calls those that were changed.
    """
    changed: list[str] = []
    cannot: dict[str, str] = {}
    try:
        for alert_id in dict.fromkeys(alert_ids):
            try:
                said = change(alert_id)
                changed.append(alert_id)
                if not as_json:
                    print(f"{alert_id}: {said}")
            except EventError as error:
                cannot[alert_id] = str(error)
                if not as_json:
                    print(f"fvq: {printable(str(error))}", file=sys.stderr)
    finally:
        if as_json:  # also where Kafka goes away: some were changed before
            print(json.dumps({done: changed, "cannot": cannot}))
    raise typer.Exit(1 if cannot else 0)
