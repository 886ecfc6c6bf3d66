"""The clip store: clips are stored whole, inside the store, and deleted without a trace."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import MediaError
from streams.events import OperatorRating, TrainingExample
from streams.events.examples import EXAMPLES
from streams.queue.clips import ClipStore, place_of, place_of_key, suffix_of
from tests.support.queue import clip_of, scored, stored_example


@pytest.fixture(params=["folder", "object store"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ClipStore:
    return ClipStore(str(tmp_path / "clips") if request.param == "folder" else f"memory://{tmp_path.name}/clips")


def test_a_clip_is_read_as_it_was_stored_also_when_stored_twice(store: ClipStore) -> None:
    score = scored(1, stream="../../etc/пасс wd")
    example = stored_example(store, score)
    assert store.read(example.clip_uri) == clip_of(score)
    stored_example(store, score)
    assert [uri for uri, _ in store.clips()] == [example.clip_uri]
    assert [stored.key for stored in store.examples()] == [example.key]


def test_the_example_of_the_events_reference_is_a_clip_of_a_store(store: ClipStore) -> None:
    example = TrainingExample.model_validate(EXAMPLES[TrainingExample])
    assert store.has(store.address + example.clip_uri.removeprefix("s3://bucket/clips"))
    assert place_of(example.clip_uri) == place_of_key(example.key)


def test_an_example_with_a_rating_is_not_written_over(store: ClipStore) -> None:
    score = scored(1)
    first = stored_example(store, score)
    again = first.model_copy(update={"queued_at": datetime.now(UTC)})
    assert store.put_unless_rated(again, clip_of(score)) == again
    assert store.examples() == [again]
    rated = stored_example(store, score, operator=OperatorRating(level=1, by="Ada", at=datetime.now(UTC)))
    assert store.put_unless_rated(again, clip_of(score)) == rated
    assert store.examples() == [rated]


def test_a_deleted_stream_leaves_nothing_and_other_streams_keep_their_clips(store: ClipStore) -> None:
    gone = [stored_example(store, scored(i, stream="gone")) for i in range(3)]
    kept = stored_example(store, scored(0, stream="kept"))
    assert store.delete_stream("gone") == 3
    assert store.delete_stream("gone") == 0
    assert [uri for uri, _ in store.clips()] == [kept.clip_uri]
    with pytest.raises(MediaError, match="not in the store any more"):
        store.read(gone[0].clip_uri)
    store.delete(gone[0].clip_uri)
    store.delete(kept.clip_uri)
    assert store.examples() == []


def test_a_clip_in_two_streams_stays_when_one_stream_is_deleted(store: ClipStore) -> None:
    first = stored_example(store, scored(1, stream="a"))
    data = store.read(first.clip_uri)
    second = first.model_copy(update={"stream_id": "b", "clip_uri": store.uri("b", data)})
    store.put(second, data)
    store.delete_stream("a")
    assert store.read(second.clip_uri) == data


@pytest.mark.parametrize(
    "uri",
    [
        "file:///etc/passwd",
        "file:///{root}/../{clip}",
        "file:///{root}/" + "0" * 32 + "/../" + "0" * 64 + ".ts",
        "s3://other/" + "0" * 32 + "/" + "0" * 64 + ".ts",
        "0" * 64 + ".ts",
        "",
    ],
)
def test_a_uri_outside_the_store_is_refused(tmp_path: Path, uri: str) -> None:
    store = ClipStore(str(tmp_path / "clips"))
    clip = stored_example(store, scored(1)).clip_uri.rsplit("/clips/", 1)[1]
    with pytest.raises(MediaError, match="not a clip of the store"):
        store.read(uri.format(root=str(tmp_path / "clips")[1:], clip=clip))


def test_half_written_files_are_not_listed_and_are_deleted_with_their_stream(tmp_path: Path) -> None:
    store = ClipStore(str(tmp_path))
    example = stored_example(store, scored(1, stream="s"))
    folder = Path(example.clip_uri.removeprefix("file://")).parent
    (folder / ".part.123").write_bytes(b"half")
    (folder / f"{'0' * 64}.ts").write_bytes(b"without its example")
    (tmp_path / "not ours").mkdir()
    assert len(list(store.clips())) == 2
    assert [stored.key for stored in store.examples()] == [example.key]
    assert store.delete_stream("s") == 2
    assert not folder.exists()


def test_a_store_of_unknown_kind_is_named_in_the_error() -> None:
    with pytest.raises(MediaError, match="FVQ_CLIP_STORE: nowhere://x"):
        ClipStore("nowhere://x")


@given(st.binary(max_size=400))
def test_any_bytes_get_one_of_the_suffixes(data: bytes) -> None:
    assert suffix_of(data) in (".ts", ".mp4", ".mkv", ".bin")


def test_the_suffix_follows_the_bytes() -> None:
    assert suffix_of(b"\x47" + bytes(187) + b"\x47") == ".ts"
    assert suffix_of(b"\x00\x00\x00\x18ftypisom") == ".mp4"
    assert suffix_of(b"\x1a\x45\xdf\xa3....") == ".mkv"
    assert suffix_of(b"") == ".bin"
