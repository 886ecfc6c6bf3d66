"""Memory that a sampling child writes and its parent reads: the pictures of an answer do not go through the pipe.

A clip has some 0.8 MB of pictures. Pickled and sent by a pipe they are copied seven times, in pieces that each wake the other
process. Here the child copies them into the memory, and the parent out of it; only their description is sent.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import pickle
from dataclasses import dataclass
from typing import Any

BYTES = 8 * 2**20
"""Size of the memory: ten clips of the usual specification. What does not fit goes through the pipe. Pages that were never
written take no memory."""

LEAST_BYTES = 4096
"""A smaller array goes through the pipe, within its description."""


@dataclass(frozen=True)
class Packed:
    """An answer as it is sent. description: its pickle without the large arrays. sizes: theirs, bytes, in their order."""

    description: bytes
    sizes: tuple[int, ...]


class SharedMemory:
    """The memory between one child and its parent, for one answer at a time.

    file: descriptor of the memory, for a process that is given one; None makes a new memory. Not the standard library's
    class of this name: its memory has a name in /dev/shm, which outlives a process that is killed, and a child could shrink it.
    """

    def __init__(self, file: int | None = None) -> None:
        # A file object, which closes the descriptor also where the child cannot start and nobody calls `close`.
        self._file = os.fdopen(_sealed_file() if file is None else file, "r+b", buffering=0)
        self._memory = mmap.mmap(self._file.fileno(), BYTES)

    @property
    def file(self) -> int:
        """The memory's descriptor, to hand to a child."""
        return self._file.fileno()

    def pack(self, answer: object) -> Packed:
        """The answer, with its large arrays in the memory. Those of the answer before are overwritten."""
        sizes: list[int] = []
        used = 0

        def goes_by_pipe(buffer: pickle.PickleBuffer) -> bool:
            nonlocal used
            with buffer.raw() as data:
                if data.nbytes < LEAST_BYTES or used + data.nbytes > BYTES:
                    return True
                self._memory[used : used + data.nbytes] = data
                sizes.append(data.nbytes)
                used += data.nbytes
            return False

        description = pickle.dumps(answer, protocol=5, buffer_callback=goes_by_pipe)
        return Packed(description, tuple(sizes))

    def unpack(self, packed: Packed) -> Any:
        """The answer, with arrays of its own. Raises `ValueError` where the sizes cannot be true."""
        if any(size < 0 for size in packed.sizes) or sum(packed.sizes) > BYTES:
            raise ValueError("a sampling process answered with more than its memory holds")
        buffers: list[bytearray] = []
        used = 0
        with memoryview(self._memory) as memory:
            for size in packed.sizes:
                with memory[used : used + size] as data:
                    buffers.append(bytearray(data))
                used += size
        return pickle.loads(packed.description, buffers=buffers)  # noqa: S301 - by the child's own code, as the pipe's messages

    def close(self) -> None:
        """Free this process's part of the memory; it is gone with the last process that has it."""
        self._memory.close()
        self._file.close()


def _sealed_file() -> int:
    """A file in memory of `BYTES` that nobody can make smaller: the parent would get SIGBUS where it reads."""
    file = os.memfd_create("fvq-sampler", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(file, BYTES)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return file
