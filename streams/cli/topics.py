"""`fvq topics`: the Kafka topics."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings

app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")


@app.command("create")
def topics_create(
    partitions: Annotated[int, typer.Option(min=1, help="Partitions of the topics that are keyed by stream.")] = 4,
    replication: Annotated[int, typer.Option(min=1, help="Copies of each partition.")] = 1,
    retention_hours: Annotated[
        int | None, typer.Option(min=1, help="Hours that messages are kept, 168 without it.", show_default=False)
    ] = None,
    alter: Annotated[bool, typer.Option("--alter", help="Change settings of existing topics to what is wanted.")] = False,
) -> None:
    """Create the topics that are missing; those that are there stay as they are without --alter."""
    from streams.kafka.topics import RETENTION_HOURS, alter_topics, create_topics, differing_topics

    connection = parts.connection(load_settings())
    for name in create_topics(connection, partitions, replication, retention_hours or RETENTION_HOURS):
        print(f"created {name}")
    if alter:
        for line in alter_topics(connection, retention_hours):
            print(f"changed {line}")
        return
    for line in differing_topics(connection, retention_hours):
        print(f"left as it is: {line}")


@app.command("check")
def topics_check(
    partitions: Annotated[int | None, typer.Option(min=1, help="Partitions that are wanted.")] = None,
    replication: Annotated[int | None, typer.Option(min=1, help="Copies that are wanted.")] = None,
    retention_hours: Annotated[int | None, typer.Option(min=1, help="Hours that messages are wanted to be kept.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare the topics with what is wanted; the exit code is 1 where they differ."""
    from streams.kafka.topics import check_topics

    reports = check_topics(parts.connection(load_settings()), partitions, replication, retention_hours)
    for report in reports:
        print(
            json.dumps(vars(report))
            if as_json
            else f"{report.name}: {report.problem or f'{report.partitions} partitions, replication {report.replication}'}"
        )
    raise typer.Exit(1 if any(report.problem for report in reports) else 0)
