"""What a user is told of an error, and what is taken for a bug."""

from __future__ import annotations

import errno
import os

from streams.user_errors import for_user, full_disk


def test_a_lack_of_memory_that_names_what_needs_it_is_told() -> None:
    assert for_user(MemoryError("there is no memory for a clip")) == ("there is no memory for a clip", 1)
    assert for_user(MemoryError()) is None


def test_a_full_disk_is_told_also_by_errors_that_name_no_file() -> None:
    class SafetensorError(Exception):
        pass

    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    for error in (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), SafetensorError(words)):
        told = full_disk(error)
        assert told is not None
        assert told[0].startswith("No space left on device: free some")
    assert full_disk(OSError(errno.EIO, "Input/output error")) is None
