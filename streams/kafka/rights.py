"""What each program may do on Kafka: the table from which operators make ACLs, and against which a user is checked.

`python -m streams.kafka.rights_page` makes the table and the commands of docs/operations.md of it, and
`tests/integration/test_acls.py` gives users exactly these rights on a Kafka with an authorizer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from streams.topic_names import (
    ALERT_ACKS_TOPIC,
    ALERT_STATE_TOPIC,
    ALERTS_TOPIC,
    ALL_TOPICS,
    DEAD_LETTER_TOPIC,
    INGEST_STATE_TOPIC,
    LETTER_MARKS_TOPIC,
    MODELS_TOPIC,
    PER_STREAM,
    PICTURES_TOPIC,
    SCORES_TOPIC,
    SEGMENTS_TOPIC,
    TRAINING_TOPIC,
    Named,
)

Operation = Literal["Read", "Write", "Describe", "DescribeConfigs", "Create", "AlterConfigs", "Delete"]


@dataclass(frozen=True, order=True)
class Right:
    """One operation on one topic or consumer group, by Kafka's names."""

    resource: Literal["topic", "group"]
    name: str
    operation: Operation

    def __str__(self) -> str:
        return f"{self.operation} on {self.resource} {self.name}"


@dataclass(frozen=True)
class Needs:
    """What a program does on Kafka, by topic. Read, Write and Delete include Describe.

    joins: what follows FVQ_GROUP in the names of the groups that it is a member of. asks: the same of groups that it only asks.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    describes: tuple[str, ...] = ()
    describes_configs: tuple[str, ...] = ()
    creates: tuple[str, ...] = ()
    alters_configs: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()


TOPIC_OPERATIONS: Mapping[str, Operation] = {
    "reads": "Read",
    "writes": "Write",
    "describes": "Describe",
    "describes_configs": "DescribeConfigs",
    "creates": "Create",
    "alters_configs": "AlterConfigs",
    "deletes": "Delete",
}
"""Kafka's operation by the field of `Needs`."""

GROUP_OPERATIONS: Mapping[str, Operation] = {"joins": "Read", "asks": "Describe"}

STATES = (PICTURES_TOPIC, ALERT_STATE_TOPIC, ALERT_ACKS_TOPIC, INGEST_STATE_TOPIC, TRAINING_TOPIC)

WORKER: Mapping[str, Needs] = {
    "scores": Needs(
        reads=(SEGMENTS_TOPIC, TRAINING_TOPIC), writes=(SCORES_TOPIC, DEAD_LETTER_TOPIC, TRAINING_TOPIC), joins=("",)
    ),
    "alerts": Needs(
        reads=(SCORES_TOPIC, ALERTS_TOPIC, ALERT_STATE_TOPIC, ALERT_ACKS_TOPIC, INGEST_STATE_TOPIC),
        writes=(ALERTS_TOPIC, ALERT_STATE_TOPIC, ALERT_ACKS_TOPIC),
        joins=(".alerts",),
    ),
    "harvest": Needs(reads=(SCORES_TOPIC, ALERTS_TOPIC), joins=(".harvest",)),
    "pictures": Needs(writes=(PICTURES_TOPIC,)),
    "models": Needs(reads=(MODELS_TOPIC,)),
}
"""What a worker needs for each of its parts: all but the first may be turned off. The training queue is swept by every worker."""


def together(needs: Iterable[Needs]) -> Needs:
    """What several parts of a program need."""
    parts = list(needs)
    fields = {field: [name for part in parts for name in getattr(part, field)] for field in Needs.__dataclass_fields__}
    return Needs(**{field: tuple(dict.fromkeys(names)) for field, names in fields.items()})


LETTERS = (DEAD_LETTER_TOPIC, LETTER_MARKS_TOPIC)

NEEDS: Mapping[str, Needs] = {
    "fvq worker": together(WORKER.values()),
    "fvq ingest files": Needs(writes=(SEGMENTS_TOPIC,)),
    "fvq ingest hls": Needs(reads=(INGEST_STATE_TOPIC,), writes=(SEGMENTS_TOPIC, INGEST_STATE_TOPIC)),
    "fvq web": Needs(
        reads=(
            SCORES_TOPIC,
            ALERTS_TOPIC,
            ALERT_STATE_TOPIC,
            ALERT_ACKS_TOPIC,
            MODELS_TOPIC,
            PICTURES_TOPIC,
            DEAD_LETTER_TOPIC,
            TRAINING_TOPIC,
        ),
        writes=(ALERT_ACKS_TOPIC, TRAINING_TOPIC),
    ),
    "fvq rate": Needs(reads=(TRAINING_TOPIC,)),
    "fvq sources": Needs(reads=(INGEST_STATE_TOPIC,)),
    "fvq alerts ack": Needs(reads=(ALERTS_TOPIC, ALERT_ACKS_TOPIC), writes=(ALERT_ACKS_TOPIC,)),
    "fvq queue ls": Needs(reads=(TRAINING_TOPIC,)),
    "fvq queue rm": Needs(reads=(TRAINING_TOPIC,), writes=(TRAINING_TOPIC, PICTURES_TOPIC)),
    "fvq dead-letters ls": Needs(reads=LETTERS),
    "fvq dead-letters replay": Needs(reads=LETTERS, writes=(SEGMENTS_TOPIC, LETTER_MARKS_TOPIC)),
    "fvq dead-letters rm": Needs(reads=LETTERS, writes=(LETTER_MARKS_TOPIC,)),
    "fvq promote": Needs(writes=(MODELS_TOPIC,)),
    "fvq topics check": Needs(describes_configs=ALL_TOPICS, describes=ALL_TOPICS),
    "fvq topics create": Needs(creates=ALL_TOPICS, describes_configs=ALL_TOPICS, describes=ALL_TOPICS),
    "fvq topics create --alter": Needs(
        creates=ALL_TOPICS, alters_configs=ALL_TOPICS, describes_configs=ALL_TOPICS, describes=ALL_TOPICS
    ),
    "fvq history fill": Needs(reads=(SCORES_TOPIC, TRAINING_TOPIC)),
    "fvq forget": Needs(
        reads=(*PER_STREAM, *STATES, LETTER_MARKS_TOPIC),
        writes=(*STATES, LETTER_MARKS_TOPIC),
        deletes=PER_STREAM,
        describes_configs=PER_STREAM,
        asks=("",),
    ),
}
"""What each program does. One that is neither here nor in `SAME_NEEDS` uses no Kafka."""

SAME_NEEDS: Mapping[str, tuple[str, ...]] = {
    "fvq ingest hls": ("fvq ingest dash", "fvq ingest push", "fvq ingest folder"),
    "fvq alerts ack": ("fvq alerts unack",),
    "fvq queue ls": ("fvq queue show", "fvq queue export", "fvq rate export", "fvq train --from-queue"),
    "fvq promote": ("fvq models rollback",),
}
"""Programs that do what one of `NEEDS` does."""


def programs() -> dict[str, Needs]:
    """What each program does, by its name: those of `NEEDS`, each followed by those that do the same."""
    return {name: needs for program, needs in NEEDS.items() for name in (program, *SAME_NEEDS.get(program, ()))}


def rights_of(needs: Needs, group: str, receivers: Sequence[str] = (), *, named: Named) -> list[Right]:
    """The rights on each topic and group, by their names on the brokers.

    group: FVQ_GROUP. receivers: names of those that a worker delivers alerts to. named: puts the environment's prefix before
    a name.
    """
    rights = [
        Right("topic", named(name), operation) for field, operation in TOPIC_OPERATIONS.items() for name in getattr(needs, field)
    ]
    rights += [
        Right("group", named(group + end), operation)
        for field, operation in GROUP_OPERATIONS.items()
        for end in getattr(needs, field)
    ]
    if ".alerts" in needs.joins:
        rights += [Right("group", named(f"{group}.alerts.{name}"), "Read") for name in receivers]
    return rights
