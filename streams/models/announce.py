"""Announces on `model-updates` that another version of a model is current."""

from __future__ import annotations

from streams.errors import BrokerError
from streams.events import MODELS_TOPIC, ModelUpdate
from streams.kafka.clients import send_all, writing
from streams.kafka.connection import Connection


def announce(connection: Connection, update: ModelUpdate) -> None:
    """Tell the workers that another version is current. Raises `BrokerError`.

    A worker that misses the announcement finds the version within a minute: it checks the registry that often.
    """
    try:
        with writing(connection) as producer:
            send_all(producer, connection.named(MODELS_TOPIC), [(update.name.encode(), update.to_bytes())])
    except BrokerError as error:
        raise BrokerError(
            f"{update.name}@{update.version} is current in the registry, but could not be announced: {error}"
        ) from error
