"""The lines that say what is kept of faces."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from streams import parts, worker_start
from streams.privacy.exports import kept_words, note_export
from streams.privacy.statement import kept_lines
from streams.settings import Settings


def lines(tmp_path: Path, **settings: object) -> str:
    return "\n".join(kept_lines(parts.keeping(Settings(data_dir=tmp_path, **settings))))  # type: ignore[arg-type]


def test_they_say_what_is_where_for_how_long_and_how_to_turn_it_off(tmp_path: Path) -> None:
    text = lines(tmp_path)
    for words in (
        f"stored in {tmp_path}/clips for 30 days", "at most 4 of a stream in an hour", "FVQ_HARVEST=false", "store=no",
        "picture of each stream every 10 s", "FVQ_PICTURES=off", "FVQ_PICTURES_FACES=blur", f"{tmp_path}/inbox until",
        f"{tmp_path}/scores.sqlite for 30 days", "fvq forget STREAM",
    ):  # fmt: skip
        assert words in text


def test_what_is_off_is_not_said_to_be_kept(tmp_path: Path) -> None:
    text = lines(tmp_path, harvest=False, pictures=None, clip_days=0)
    assert "no clip is stored (FVQ_HARVEST=false), except those that people rate on the wall" in text
    assert f"{tmp_path}/clips for ever" in text
    assert "no pictures of streams are made" in text
    assert "faces are blurred" in lines(tmp_path, pictures_faces="blur")


def test_other_stores_are_named_without_passwords(tmp_path: Path) -> None:
    text = lines(
        tmp_path,
        clip_store="s3://key:secret@bucket/clips",
        influx_url="http://influx:8086",
        influx_token="t",
        influx_bucket="faces",
    )
    assert "s3://bucket/clips" in text
    assert "InfluxDB http://influx:8086, bucket faces, as long as the bucket keeps them" in text
    assert "secret" not in text
    text = lines(tmp_path, clip_store="s3://key:an@secret@bucket/clips")
    assert "s3://bucket/clips" in text
    assert "secret" not in text, "a password may have an @ in it"
    assert "secret" not in lines(tmp_path, clip_store="s3://key:a/secret@bucket/clips"), "or a slash"
    assert f"stored in {tmp_path}/a@b#c for" in lines(tmp_path, clip_store=f"{tmp_path}/a@b#c"), "a folder is no address"


def test_exports_are_named_and_a_long_list_is_cut(tmp_path: Path) -> None:
    for number in range(5):
        note_export(tmp_path, "queue", tmp_path / f"out\n{number}", 0.0)
    text = lines(tmp_path)
    assert f"{tmp_path}/out\\n" in text, "each is on a line of its own"
    assert text.count("clips were exported") == 3
    assert "and 2 more exports" in text


def test_they_are_a_workers_first_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.worker.run_worker", lambda *_: 0)
    monkeypatch.setattr("streams.life.configure_logging", lambda *_: None)
    with caplog.at_level(logging.INFO):
        worker_start.start_worker(Settings(data_dir=tmp_path, broker="none:1", web_port=0))
    first, *rest = caplog.messages
    assert first.startswith("worker starts")
    assert rest == kept_lines(parts.keeping(Settings(data_dir=tmp_path)))


def test_who_exports_is_told_when_it_is_deleted() -> None:
    assert kept_words(365.0).startswith("it is deleted after 365 days (FVQ_EXPORT_DAYS)")
    assert kept_words(0.0).startswith("it stays until somebody deletes it")
