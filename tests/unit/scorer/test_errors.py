"""The errors that the scorer raises."""

from __future__ import annotations

import pickle

import pytest

from scorer.errors import FvqError, MediaError, ModelError


@pytest.mark.parametrize("error", [MediaError("no picture", kind="no-video"), MediaError("damaged"), ModelError("no weights")])
def test_an_error_crosses_a_process_boundary_with_everything_it_says(error: FvqError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert str(copy) == str(error) == error.reason


def test_the_kind_of_a_media_error_is_undecodable_unless_given() -> None:
    assert MediaError("damaged").kind == "undecodable"
    assert MediaError("no picture", kind="no-video").kind == "no-video"
