"""`fvq topics`: the Kafka topics."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from streams import parts
from streams.cli.options import JsonFlag, load_settings
from streams.errors import SettingsError
from streams.text import counted

app = typer.Typer(no_args_is_help=True, help="The Kafka topics.")


@app.command("create")
def topics_create(
    partitions: Annotated[
        int | None,
        typer.Option(min=1, help="Partitions of topics that are keyed by stream, 4 without it.", show_default=False),
    ] = None,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Copies of each partition, 1 without it.", show_default=False)
    ] = None,
    retention_hours: Annotated[
        int | None, typer.Option(min=1, help="Hours that messages are kept, 168 without it.", show_default=False)
    ] = None,
    alter: Annotated[bool, typer.Option("--alter", help="Change settings of existing topics to what is wanted.")] = False,
) -> None:
    """Create the topics that are missing; those that are there stay as they are without --alter.

    What differs from what is wanted is printed as `fvq topics check` prints it. The exit code is 0 all the same.
    """
    from streams.kafka.topics import PARTITIONS, RETENTION_HOURS, alter_topics, check_topics, create_topics

    connection = parts.connection(load_settings())
    created = create_topics(connection, partitions or PARTITIONS, replication or 1, retention_hours or RETENTION_HOURS)
    for name in created:
        print(f"created {name}")
    if alter:
        for line in alter_topics(connection, retention_hours):
            print(f"changed {line}")
    for report in check_topics(connection, partitions, replication, retention_hours):
        # A broker lists a topic some moments after it has said that it made it.
        if report.problem and report.name not in created:
            print(f"left as it is: {report.name}: {report.problem}")


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
        right = f"{counted(report.partitions, 'partition')}, replication {report.replication}"
        print(json.dumps(vars(report)) if as_json else f"{report.name}: {report.problem or right}")
    raise typer.Exit(1 if any(report.problem for report in reports) else 0)


@app.command("acls")
def topics_acls(
    program: Annotated[str, typer.Argument(help="What is to run, as 'fvq worker'; without it all programs are listed.")] = "",
    user: Annotated[str, typer.Option(help="Kafka's user, without the word User.")] = "USER",
) -> None:
    """Print the commands of Kafka's own tool that let a user run a program, on a Kafka with an authorizer.

    The groups begin with FVQ_GROUP. `admin.properties` is yours: it says how an administrator connects.
    """
    from streams.kafka.rights import programs
    from streams.kafka.rights_page import commands

    needs = programs()
    if not program:
        print("\n".join(needs))
        return
    if program not in needs:
        raise SettingsError("PROGRAM", f"{program!r} is none of those that `fvq topics acls` lists")
    if not user:
        raise SettingsError("--user", "is empty: name Kafka's user")
    settings = load_settings()
    server = settings.broker or "kafka-1:9092"
    print("\n".join(commands(needs[program], settings.group, user, server, parts.named(settings))))
