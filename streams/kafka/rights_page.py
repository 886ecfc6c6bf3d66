"""The table of rights, and the commands that give them, for docs/operations.md: `python -m streams.kafka.rights_page`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from streams.kafka.rights import GROUP_OPERATIONS, NEEDS, SAME_NEEDS, TOPIC_OPERATIONS, Needs
from streams.topic_names import ALL_TOPICS, Named

NOT_OURS = {"fvq ingest files": "; your packager"}
"""Who else needs the rights of a row."""


def table() -> str:
    """The table, a row for each program."""
    rows = [f"| {_names(program)} | {_topics(needs)} | {_groups(needs)} |" for program, needs in NEEDS.items()]
    return "\n".join(["| process | topics | groups |", "|---|---|---|", *rows])


def commands(needs: Needs, group: str, user: str, server: str, named: Named) -> list[str]:
    """Commands of Kafka's own tool that give a user what a program needs, one for each operation, quoted for a shell.

    group: FVQ_GROUP. All groups of a worker begin with it, so one ACL is for them all, and for those of receivers to come.
    named: puts the environment's prefix before a name.
    """
    principal, groups = shlex.quote(f"User:{user}"), shlex.quote(named(group))
    tool = f"kafka-acls.sh --bootstrap-server {shlex.quote(server)} --command-config admin.properties --add"
    tool = f"{tool} --allow-principal {principal}"
    lines = [
        f"{tool} --operation {operation} {' '.join(f'--topic {shlex.quote(named(name))}' for name in names)}"
        for operation, names in _by_operation(needs)
    ]
    if needs.joins:
        lines.append(f"{tool} --operation Read --group {groups} --resource-pattern-type prefixed")
    if needs.asks:
        lines.append(f"{tool} --operation Describe --group {groups}")
    return lines


def _names(program: str) -> str:
    """The programs of a row."""
    return ", ".join(f"`{name}`" for name in (program, *SAME_NEEDS.get(program, ()))) + NOT_OURS.get(program, "")


def _by_operation(needs: Needs) -> Iterator[tuple[str, Sequence[str]]]:
    """Operations and their topics."""
    for field, operation in TOPIC_OPERATIONS.items():
        if names := getattr(needs, field):
            yield operation, names


def _topics(needs: Needs) -> str:
    cells = [
        f"*{operation}*: {'all' if set(names) == set(ALL_TOPICS) else ', '.join(f'`{name}`' for name in names)}"
        for operation, names in _by_operation(needs)
    ]
    return "<br>".join(cells)


def _groups(needs: Needs) -> str:
    cells = []
    for field, operation in GROUP_OPERATIONS.items():
        if ends := getattr(needs, field):
            receivers = ["`fvq.alerts.NAME` for each receiver"] if ".alerts" in ends else []
            cells.append(f"*{operation}*: {', '.join([f'`fvq{end}`' for end in ends] + receivers)}")
    return "<br>".join(cells)


if __name__ == "__main__":
    print(table())
