"""Looking topics up by name: one that the user may not see is told from one that is not there.

A list of all topics leaves out what the user may not describe, and kafka-python's `describe_configs` gives no settings, and no
error, of a topic whose settings the user may not see. Asked for by its name, a topic comes with what the user may do.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from typing import Any

from streams.errors import BrokerError
from streams.kafka.clients import broker_errors, open_admin
from streams.kafka.connection import Connection
from streams.kafka.rights import Operation
from streams.refusals import TOPIC_REFUSED, refused, who_uses

NO_SUCH_TOPIC = 3
"""Kafka's number of the error."""

KAFKA_NAMES = {"DescribeConfigs": "DESCRIBE_CONFIGS", "AlterConfigs": "ALTER_CONFIGS"}
"""Operations whose names in kafka-python are more than their own in capital letters."""


def looked_up(admin: Any, names: Collection[str], operation: Operation = "Describe") -> dict[str, dict[str, Any]]:
    """Those of the topics that are there, as Kafka describes them. operation: what is to be done with them.

    Raises `BrokerError` where Kafka does not let the user do it with all of them.
    """
    topics = {topic["name"]: topic for topic in admin.describe_topics(sorted(names))}
    if missing := sorted(name for name, topic in topics.items() if lacks(topic, operation)):
        raise BrokerError(refused(operation, f"topic {', '.join(missing)}", who_uses(admin)))
    return {name: topic for name, topic in topics.items() if topic.get("error_code") != NO_SUCH_TOPIC}


def lacks(topic: dict[str, Any], operation: Operation) -> bool:
    """Whether Kafka says that the user may not do this with a topic that it described; False where it does not say."""
    if topic.get("error_code"):
        return bool(topic["error_code"] == TOPIC_REFUSED)  # without Describe Kafka does not say whether there is such a topic
    # Describe at least would be among them, if Kafka told.
    operations: list[str] = topic.get("authorized_operations") or []
    return bool(operations) and KAFKA_NAMES.get(operation, operation.upper()) not in operations


def no_topic(connection: Connection, name: str) -> BrokerError:
    """Why a reader does not see a topic: it is missing, the user may not, or Kafka does not answer."""
    with closing(open_admin(connection)) as admin:
        try:
            with broker_errors(f"topic {name} cannot be looked up"):
                looked_up(admin, [name], "Read")
        except BrokerError as error:
            return error
    return BrokerError(f"topic {name} is missing: run `fvq topics create`")
