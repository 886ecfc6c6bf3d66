"""How the topics are wanted."""

from __future__ import annotations

import pytest

from streams.topics import in_sync


@pytest.mark.parametrize(("replication", "copies"), [(1, None), (2, None), (3, "2"), (5, "2")])
def test_what_is_acknowledged_outlives_a_broker_where_there_are_three(replication: int, copies: str | None) -> None:
    assert in_sync(replication).get("min.insync.replicas") == copies
