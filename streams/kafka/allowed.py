"""What the user of a connection may do on Kafka, as the brokers themselves say it; nothing is written, and no group is joined."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from kafka.admin import MemberToRemove
from kafka.errors import (
    BrokerResponseError,
    CoordinatorLoadInProgressError,
    CoordinatorNotAvailableError,
    GroupAuthorizationFailedError,
    NotCoordinatorError,
)

from streams.errors import BrokerError
from streams.kafka.clients import broker_errors, open_admin
from streams.kafka.connection import Connection
from streams.kafka.rights import Right
from streams.kafka.topic_looks import NO_SUCH_TOPIC, lacks

NOBODY = "fvq-doctor-looks-whether-it-may"
"""A member that no group has. Kafka looks at the right to read a group before it looks for the member that is to leave it."""

COORDINATOR_SECONDS = 10.0
"""How long a new Kafka may take to make the topic that it keeps its groups in."""


@dataclass(frozen=True)
class Allowed:
    """What Kafka says of some rights. missing: the user does not have them. absent: topics that are not there.

    untold: rights of which Kafka says nothing, because it is older than 2.3 or another implementation.
    """

    missing: tuple[Right, ...] = ()
    absent: tuple[str, ...] = ()
    untold: tuple[Right, ...] = ()


def look(connection: Connection, rights: Sequence[Right]) -> Allowed:
    """Ask Kafka which of these rights the connection's user lacks. Raises `BrokerError` where it does not answer."""
    with closing(open_admin(connection)) as admin, broker_errors("Kafka does not say what the user may do"):
        topics = _topics(admin, [right for right in rights if right.resource == "topic"])
        groups = _groups(admin, [right for right in rights if right.resource == "group"])
    return Allowed(topics.missing + groups.missing, topics.absent, topics.untold + groups.untold)


def check_rights(connection: Connection, program: str, rights: Sequence[Right]) -> None:
    """Raise `BrokerError` where the user lacks one of the rights that a program needs.

    A connection without a user has no rights of its own: it is not asked for.
    """
    if connection.security == "PLAINTEXT":
        return
    if missing := look(connection, rights).missing:
        raise BrokerError(
            f"Kafka does not let {connection.who} do what `{program}` needs: {listed(missing)}. Add ACLs, as docs/operations.md "
            f"lists them"
        )


def listed(rights: Iterable[Right]) -> str:
    """Rights in words, those of the same operation together."""
    names: dict[tuple[str, str], list[str]] = {}
    for right in rights:
        names.setdefault((right.operation, right.resource), []).append(right.name)
    return "; ".join(f"{operation} on {resource} {', '.join(them)}" for (operation, resource), them in names.items())


def _topics(admin: Any, rights: Sequence[Right]) -> Allowed:
    if not rights:
        return Allowed()
    told = {topic["name"]: topic for topic in admin.describe_topics(sorted({right.name for right in rights}))}
    missing, untold, absent = [], [], set()
    for right in rights:
        topic = told[right.name]
        if lacks(topic, right.operation):
            missing.append(right)
        elif topic["error_code"] == NO_SUCH_TOPIC:
            absent.add(right.name)
        elif not topic["authorized_operations"]:
            untold.append(right)
    return Allowed(tuple(missing), tuple(sorted(absent)), tuple(untold))


def _groups(admin: Any, rights: Sequence[Right]) -> Allowed:
    missing, untold = [], []
    for right in rights:
        try:
            _ask_for_group(admin, right)
        except GroupAuthorizationFailedError:
            missing.append(right)
        except BrokerResponseError:
            untold.append(right)
    return Allowed(tuple(missing), (), tuple(untold))


def _ask_for_group(admin: Any, right: Right) -> None:
    """Return where the user has the right. Raises `GroupAuthorizationFailedError` where not.

    Kafka 4 tells a group's operations only where the group is there, and a new worker's is not.
    """
    deadline = time.monotonic() + COORDINATOR_SECONDS
    while True:
        try:
            if right.operation == "Read":
                admin.remove_group_members(right.name, [MemberToRemove(member_id=NOBODY)])
            else:
                admin.describe_groups([right.name])
            return
        except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
