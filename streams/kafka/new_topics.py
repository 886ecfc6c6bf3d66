"""No client of this program lets a broker make a topic: `fvq topics create` does. kafka-python's: `_made` in `clients.py`.

A broker with `auto.create.topics.enable`, Kafka's default, makes a missing topic that a client asks for, with partitions and
retention of its own: it would delete the states that a compacted topic keeps.
"""

from __future__ import annotations

from functools import partial


def keep_faust_from_making_topics() -> None:
    """aiokafka (0.14), which Faust uses, asks for topics by this class, and has no option."""
    import aiokafka.client
    from aiokafka.protocol.metadata import MetadataRequest

    aiokafka.client.MetadataRequest = partial(MetadataRequest, allow_auto_topic_creation=False)
