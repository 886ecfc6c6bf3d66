"""What goes by the memory between a sampling child and its parent, and what it refuses."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator

import numpy as np
import pytest

from scorer.sampling.shared_memory import BYTES, LEAST_BYTES, Packed, SharedMemory


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory()
    yield memory
    memory.close()


def pictures(count: int, value: int = 7) -> np.ndarray:
    return np.full((count, 64, 64, 3), value, np.uint8)


def test_large_arrays_go_by_the_memory_and_small_ones_within_the_description(memory: SharedMemory) -> None:
    mask = np.array([True, False])
    packed = memory.pack({"pictures": pictures(4), "mask": mask, "name": "a"})
    assert packed.sizes == (4 * 64 * 64 * 3,)
    assert len(packed.description) < LEAST_BYTES
    answer = memory.unpack(packed)
    assert np.array_equal(answer["pictures"], pictures(4))
    assert np.array_equal(answer["mask"], mask)
    assert answer["name"] == "a"


def test_an_answer_keeps_its_pictures_when_the_next_one_overwrites_the_memory(memory: SharedMemory) -> None:
    first = memory.unpack(memory.pack(pictures(2, 1)))
    second = memory.unpack(memory.pack(pictures(2, 2)))
    assert (first == 1).all()
    assert (second == 2).all()
    second[:] = 3  # an array of its own can be written to, as those of a pipe
    assert (memory.unpack(memory.pack(pictures(1, 4))) == 4).all()


def test_what_does_not_fit_goes_by_the_pipe(memory: SharedMemory) -> None:
    large = np.zeros(BYTES - LEAST_BYTES, np.uint8)
    packed = memory.pack([large, pictures(1), large[:LEAST_BYTES]])
    assert packed.sizes == (large.nbytes, LEAST_BYTES)
    assert [array.nbytes for array in memory.unpack(packed)] == [large.nbytes, pictures(1).nbytes, LEAST_BYTES]


def test_arrays_that_are_not_contiguous_come_as_they_are(memory: SharedMemory) -> None:
    turned = np.arange(90_000, dtype=np.float32).reshape(300, 300)
    for array in (turned.T, turned[:, ::2]):
        assert np.array_equal(memory.unpack(memory.pack(array)), array)


@pytest.mark.parametrize("sizes", [(BYTES, 1), (BYTES + 1,), (-1, 10)])
def test_sizes_that_cannot_be_true_are_refused(memory: SharedMemory, sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="more than its memory holds"):
        memory.unpack(Packed(pickle.dumps(None), sizes))


def test_a_child_cannot_make_the_memory_smaller(memory: SharedMemory) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(memory.file, 0)
