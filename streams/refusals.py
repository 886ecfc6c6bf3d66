"""What Kafka's refusals say in words: which right is missing, on what, and to whom. Imports no client: both have these errors."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

TOPIC_REFUSED, GROUP_REFUSED, CLUSTER_REFUSED = 29, 30, 31
"""Kafka's numbers of the errors, which kafka-python and aiokafka both keep in `errno`."""

RESOURCES = {TOPIC_REFUSED: "topic", GROUP_REFUSED: "group"}
WHERE = "docs/operations.md lists the rights of each program"
SOMEBODY = "this program's user"


def is_refusal(error: BaseException) -> bool:
    """Whether Kafka refused a request for want of a right."""
    return getattr(error, "errno", None) in (TOPIC_REFUSED, GROUP_REFUSED, CLUSTER_REFUSED)


def words(error: BaseException, operation: str = "Read", name: str = "", who: str = "") -> str:
    """What an error says: the right that is missing, or its type and its text.

    operation: what was asked for. name: of the topic or group, where the caller knows it. who: as `Connection.who`.
    """
    if not is_refusal(error):
        return f"{type(error).__name__}: {error}"
    resource = RESOURCES.get(getattr(error, "errno", 0), "the cluster")
    place = f"{resource} {name or _named(error)}".rstrip() if resource != "the cluster" else resource
    return refused(operation, place, who)


def refused(operation: str, place: str, who: str = "") -> str:
    """That a right is missing. place: as `topic video-segments`."""
    return f"Kafka refuses {who or SOMEBODY} {operation} on {place}: {WHERE}"


def who_uses(client: Any) -> str:
    """Whom the brokers take one of kafka-python's clients for; '' where it does not say."""
    user = getattr(client, "config", {}).get("sasl_plain_username")
    return f"user {user}" if user else ""


def _named(error: BaseException) -> str:
    """The topics or the group in an error's arguments: a set of names, or one; '' for a sentence."""
    for argument in error.args:
        if isinstance(argument, Set | list | tuple):
            return ", ".join(sorted(map(str, argument)))
        if isinstance(argument, str) and " " not in argument:
            return argument
    return ""
