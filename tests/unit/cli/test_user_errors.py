"""What a user is told of an error, and what is taken for a bug."""

from __future__ import annotations

from streams.user_errors import for_user


def test_a_lack_of_memory_that_names_what_needs_it_is_told() -> None:
    assert for_user(MemoryError("there is no memory for a clip")) == ("there is no memory for a clip", 1)
    assert for_user(MemoryError()) is None
