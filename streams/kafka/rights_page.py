"""The table of rights, and the commands that give them, for docs/operations.md: `python -m streams.kafka.rights_page`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streams.kafka.rights import GROUP_OPERATIONS, NEEDS, TOPIC_OPERATIONS, Needs
from streams.topic_names import ALL_TOPICS, Named

SAME = {
    "fvq ingest files": "`fvq ingest files`; your packager",
    "fvq ingest hls": "`fvq ingest hls`, `dash`, `push`, `folder`",
    "fvq alerts ack": "`fvq alerts ack`, `unack`",
    "fvq queue ls": "`fvq queue ls`, `show`, `export`",
    "fvq promote": "`fvq promote`, `fvq models rollback`",
}
"""How the table calls a row that stands for several programs."""


def table() -> str:
    """The table, a row for each program."""
    rows = [f"| {SAME.get(program, f'`{program}`')} | {_topics(needs)} | {_groups(needs)} |" for program, needs in NEEDS.items()]
    return "\n".join(["| process | topics | groups |", "|---|---|---|", *rows])


def commands(needs: Needs, group: str, user: str, server: str, named: Named) -> list[str]:
    """Commands of Kafka's own tool that give a user what a program needs, one for each operation.

    group: FVQ_GROUP. All groups of a worker begin with it, so one ACL is for them all, and for those of receivers to come.
    named: puts the environment's prefix before a name.
    """
    tool = f"kafka-acls.sh --bootstrap-server {server} --command-config admin.properties --add --allow-principal User:{user}"
    lines = [
        f"{tool} --operation {operation} {' '.join(f'--topic {named(name)}' for name in names)}"
        for operation, names in _by_operation(needs)
    ]
    if needs.joins:
        lines.append(f"{tool} --operation Read --group {named(group)} --resource-pattern-type prefixed")
    if needs.asks:
        lines.append(f"{tool} --operation Describe --group {named(group)}")
    return lines


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
