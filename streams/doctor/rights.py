"""Checks of `fvq doctor` of what the user of FVQ_KAFKA_USER may do on Kafka: its ACLs, asked of the brokers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from streams import parts
from streams.doctor.check import Check
from streams.errors import FvqError
from streams.settings import Settings
from streams.text import counted

if TYPE_CHECKING:
    from streams.kafka.allowed import Allowed
    from streams.kafka.connection import Connection
    from streams.kafka.rights import Right

NAME = "rights"
FIX = "add the ACLs that docs/operations.md lists, or correct FVQ_KAFKA_USER"
CREATE = "run `fvq topics create`, or correct FVQ_TOPIC_PREFIX and FVQ_BROKER"
PROGRAMS = {"worker": "fvq worker", "ingest": "fvq ingest hls", "web": "fvq web", "rate": "fvq rate"}
"""The program of each role; what live sources need is all that any `fvq ingest` needs."""


def check_rights_of(role: str) -> Callable[[Settings], Check]:
    """The check that the topics of a role's program are there, and that the user may do all that it needs."""

    def check(settings: Settings) -> Check:
        return _checked(settings, lambda connection: _one(connection, PROGRAMS[role], _rights(settings, PROGRAMS[role])))

    return check


def check_rights(settings: Settings) -> Check:
    """Which programs the user may run: each may have a user of its own, so it is right where that is one at least."""
    return _checked(settings, lambda connection: _any(connection, settings))


def _checked(settings: Settings, act: Callable[[Connection], Check]) -> Check:
    if not settings.broker:
        return Check(NAME, True, "FVQ_BROKER is not set")
    try:
        return act(parts.connection(settings))
    except FvqError as error:
        return Check(NAME, False, str(error), "see the message, and the other checks")


def _rights(settings: Settings, program: str) -> list[Right]:
    from streams.kafka.rights import NEEDS, rights_of

    if program == "fvq worker":
        return parts.worker_rights(settings)
    return rights_of(NEEDS[program], settings.group, named=parts.named(settings))


def _one(connection: Connection, program: str, rights: list[Right]) -> Check:
    from streams.kafka.allowed import listed, look

    told = look(connection, rights)
    problems = {}
    if told.missing:
        problems[f"{connection.who} lacks for `{program}`: {listed(told.missing)}"] = FIX
    if told.absent:
        # The program itself ends at once where one of its topics is missing.
        problems[f"topics of `{program}` are not there: {', '.join(told.absent)}"] = CREATE
    if problems:
        return Check(NAME, False, "; ".join(problems), "; ".join(problems.values()))
    allowed = [right for right in rights if right not in told.untold]
    return Check(NAME, True, f"{connection.who} may for `{program}`: {listed(allowed) or 'nothing is known'}{_unknown(told)}")


def _any(connection: Connection, settings: Settings) -> Check:
    from streams.kafka.allowed import listed, look

    needed = {program: _rights(settings, program) for program in PROGRAMS.values()}
    told = look(connection, sorted({right for rights in needed.values() for right in rights}))
    lacking = {program: [right for right in rights if right in told.missing] for program, rights in needed.items()}
    able = [f"`{program}`" for program, missing in lacking.items() if not missing]
    unable = "; ".join(f"for `{program}` it lacks {listed(missing)}" for program, missing in lacking.items() if missing)
    words = f"{connection.who} may run {', '.join(able) or 'none of them'}{f'; {unable}' if unable else ''}"
    return Check(NAME, bool(able), f"{words}{_unknown(told)}", FIX)


def _unknown(told: Allowed) -> str:
    absent = f"; not there, `fvq topics create` makes them: {', '.join(told.absent)}" if told.absent else ""
    untold = f"; Kafka does not tell {counted(len(told.untold), 'right')}" if told.untold else ""
    return absent + untold
