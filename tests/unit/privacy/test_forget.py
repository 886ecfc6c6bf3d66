"""Forgetting a stream on one machine: nothing of it is left in any store, and all of the other stream is."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from typer.testing import CliRunner

from streams.cli.app import app
from streams.ingest.push.spool import SourceSpool
from streams.privacy.exports import Kind, exports, note_export
from streams.privacy.forget import Places, checked_id, forget_stream
from streams.privacy.step import Step
from streams.queue.clips import ClipStore
from streams.rating.store import RatingStore
from streams.sinks.sqlite_file import FILE
from streams.sinks.sqlite_sweep import count_stream
from tests.support.two_streams import Machine, fill, rows_of, write

ODD = [
    "news", "news2", "tv/1", "../../etc/passwd", "a b,c=d", 'say "hi" \\ it\'s', "=1+1", "-rf", "ünï 🎥\u2028", "line\nbreak",
    "%s{}*?[a]", "." * 250,
]  # fmt: skip


@pytest.fixture(params=["folder", "objects"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    """A machine whose clip store is a folder, or objects that fsspec reaches as it does S3 and GCS."""
    address = str(tmp_path / "clips") if request.param == "folder" else f"memory://{tmp_path.name}/clips"
    yield Machine(tmp_path, ClipStore(address))
    if request.param == "objects":
        fsspec.filesystem("memory").store.clear()


def forget(machine: Machine, stream: str, dry_run: bool = False) -> dict[str, Step]:
    """The steps by store; those without a broker leave Kafka out."""
    places = Places(machine.data, None, "fvq", machine.store, None)
    return {step.store: step for step in forget_stream(places, stream, dry_run)}


def age(machine: Machine) -> None:
    """Let all pushed streams have ended some time ago."""
    for epoch in machine.data.glob("ingest/push/*/*"):
        os.utime(epoch, (time.time() - 900,) * 2)


COUNTS = {
    "ratings": 2, "clips": 2, "playable clips": 4, "scores in SQLite": 2, "cut segments": 2, "pushed segments": 1, "export": 2,
}  # fmt: skip


async def test_nothing_of_it_is_left_and_all_of_the_other(machine: Machine) -> None:
    await fill(machine, "gone", "kept")
    age(machine)
    before = machine.files()
    of_kept = {path: data for path, data in before.items() if not belongs(machine, path, "gone")}
    looked = forget(machine, "gone", dry_run=True)
    assert machine.files() == before, "a dry run changes nothing"
    assert {name: looked[name].count for name in COUNTS} == COUNTS
    assert {looked[name].outcome for name in COUNTS} == {"would-delete"}
    done = forget(machine, "gone")
    assert {name: (done[name].outcome, done[name].count) for name in COUNTS} == {
        name: ("deleted", count) for name, count in COUNTS.items()
    }
    after = machine.files()
    table = "out/queue.csv"
    assert {row["stream_id"] for row in rows_of(machine.folder / table)} == {"kept"}
    assert {path: after[path] for path in after if path != table} == {path: of_kept[path] for path in of_kept if path != table}
    assert machine.store.example_ids("gone") == []
    assert len(machine.store.example_ids("kept")) == 2
    assert {rating.key[0] for rating in RatingStore(machine.data).ratings()} == {"kept"}
    assert (count_stream(machine.data / FILE, "gone"), count_stream(machine.data / FILE, "kept")) == (0, 2)
    for database in machine.data.glob("*.sqlite*"):
        assert b"gone" not in database.read_bytes(), f"{database.name} still has the id"
    assert {step.outcome for name, step in forget(machine, "gone").items() if name != "Kafka"} == {"nothing"}, "a second time"


def belongs(machine: Machine, path: str, stream: str) -> bool:
    """Whether a file is a stream's, by what its path has."""
    ids = {example.example_id for example in machine.examples[stream]}
    return any(example_id in path for example_id in ids) or f"/{stream}-" in path


@pytest.mark.parametrize("stream", ODD)
async def test_ids_with_any_characters_are_forgotten_and_no_other_is(tmp_path: Path, stream: str) -> None:
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    other = "news 2" if stream != "news 2" else "x"
    await fill(machine, stream, other)
    age(machine)
    done = forget(machine, stream)
    assert {name: done[name].count for name in COUNTS} == COUNTS
    assert {name: step.count for name, step in forget(machine, other, dry_run=True).items() if name in COUNTS} == COUNTS


async def test_a_store_that_fails_is_told_and_the_others_have_their_turn(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    await fill(machine, "gone")
    for file in machine.data.glob("scores.sqlite*"):
        file.unlink()
    (machine.data / FILE).write_bytes(b"no database at all" * 999)
    done = forget(machine, "gone")
    assert done["scores in SQLite"].outcome == "failed"
    assert "not a database" in done["scores in SQLite"].text
    assert done["clips"].outcome == "deleted"


async def test_a_pushed_stream_that_runs_keeps_its_present_segments(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    spool = SourceSpool(machine.data / "ingest/push", "gone")
    old = write(spool.new_epoch() / "0.ts").parent
    os.utime(old, (time.time() - 900,) * 2)
    now = write(spool.new_epoch() / "0.ts")
    step = forget(machine, "gone")["pushed segments"]
    assert (step.outcome, step.count) == ("part", 1)
    assert "an encoder sends it now" in step.text
    assert now.exists()
    assert not old.exists()


async def test_exports_that_were_moved_or_changed_are_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    note_export(machine.data, "ratings", tmp_path / "moved.csv", 0.0)
    assert forget(machine, "gone")["export"].outcome == "part"
    (tmp_path / "moved.csv").write_text("a,b\n1,2\n")
    step = forget(machine, "gone")["export"]
    assert step.outcome == "failed"
    assert "has no columns `path` and `stream_id` any more" in step.text


@pytest.mark.parametrize("kind", ["queue", "ratings"])
async def test_clips_of_an_export_that_was_killed_are_forgotten(tmp_path: Path, kind: Kind) -> None:
    """Clips are copied before the table that names them is there: the table before, or none, has no word of them."""
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    await fill(machine, "gone", "kept")
    table, copies = tmp_path / "out" / "queue.csv", tmp_path / "out" / "clips"
    if kind == "ratings":
        next(iter(exports(machine.data))).note.unlink()
        table, copies = tmp_path / "rated.csv", tmp_path / "rated.csv.clips"
        note_export(machine.data, "ratings", table, 0.0)
        for example in machine.examples["gone"] + machine.examples["kept"]:
            write(copies / f"{example.example_id}.ts")
    heading, *rows = (tmp_path / "out" / "queue.csv").read_text().splitlines()
    table.write_text("\n".join([heading, *(row for row in rows if "kept" in row)]) + "\n")
    looked = forget(machine, "gone", dry_run=True)["export"]
    assert (looked.outcome, looked.count) == ("would-delete", 2)
    if kind == "queue":
        table.unlink()
        looked = forget(machine, "gone", dry_run=True)["export"]
        assert (looked.outcome, looked.count) == ("part", 2)
    assert forget(machine, "gone")["export"].count == 2
    left = {path.name[:64] for path in copies.iterdir()}
    assert left == {example.example_id for example in machine.examples["kept"]}


async def test_copies_of_a_killed_export_go_at_once_where_its_table_cannot_be_read(tmp_path: Path) -> None:
    """The next run would not know them: ratings and clip store, which tell their ids, are emptied by this one."""
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    await fill(machine, "gone")
    table = tmp_path / "rated.csv"
    left, named = (write(tmp_path / "rated.csv.clips" / f"{example.example_id}.ts") for example in machine.examples["gone"])
    table.write_text(f"a,b\n{named},2\n")
    note_export(machine.data, "ratings", table, 0.0)
    places = Places(machine.data, None, "fvq", machine.store, None)
    (step,) = (step for step in forget_stream(places, "gone") if step.where == str(table))
    assert step.outcome == "failed"
    assert not left.exists()
    assert named.exists()


async def test_copies_that_cannot_be_deleted_are_named_and_keep_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run would not know them."""
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    await fill(machine, "gone")
    stuck, other = (write(tmp_path / "rated.csv.clips" / f"{example.example_id}.ts") for example in machine.examples["gone"])
    note_export(machine.data, "ratings", tmp_path / "rated.csv", 0.0)
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    places = Places(machine.data, None, "fvq", machine.store, None)
    (step,) = (step for step in forget_stream(places, "gone") if step.where == str(tmp_path / "rated.csv"))
    assert (step.outcome, other.exists()) == ("failed", False)
    assert f"{stuck}: Operation not permitted" in step.text
    assert "delete it yourself" in step.text


async def test_a_run_that_is_stopped_in_an_export_leaves_its_copies_to_the_next_one(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    await fill(machine, "gone")
    clip = write(tmp_path / "rated.csv.clips" / f"{machine.examples['gone'][0].example_id}.ts")
    note_export(machine.data, "ratings", tmp_path / "rated.csv", 0.0)
    places = Places(machine.data, None, "fvq", machine.store, None)
    for step in forget_stream(places, "gone"):
        if step.store == "export":
            break
    write(clip)
    forget(machine, "gone")
    assert not clip.exists()


def test_an_export_onto_what_is_something_else_is_refused_and_not_noted(tmp_path: Path) -> None:
    file = write(tmp_path / "talk.mp4")
    with pytest.raises(NotADirectoryError, match="talk"):
        note_export(tmp_path / "data", "queue", file, 0.0)
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="folder"):
        note_export(tmp_path / "data", "ratings", tmp_path / "folder", 0.0)
    assert not list(exports(tmp_path / "data"))


@pytest.mark.parametrize("kind", ["queue", "ratings"])
def test_something_else_in_the_place_of_an_export_keeps_no_stream_from_being_forgotten(tmp_path: Path, kind: Kind) -> None:
    place = tmp_path / "out"
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    note_export(machine.data, kind, place, 0.0)
    if kind == "queue":
        write(place)
    else:
        place.mkdir()
    step = forget(machine, "gone")["export"]
    assert step.outcome == "part"
    assert "not there any more" in step.text


def test_a_table_that_a_spreadsheet_has_saved_keeps_its_columns_and_what_people_filled_in(tmp_path: Path) -> None:
    table = tmp_path / "out" / "queue.csv"
    table.parent.mkdir()
    text = 'path,mos,stream_id,note\r\nclips/a.ts,4,gone,x\r\nclips/b.ts,5,kept,"two\r\nlines"\r\n'
    table.write_bytes(b"\xef\xbb\xbf" + text.encode())
    note_export(tmp_path / "data", "queue", table.parent, 0.0)
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))
    assert forget(machine, "gone")["export"].count == 1
    assert table.read_bytes() == b"\xef\xbb\xbf" + text.replace("clips/a.ts,4,gone,x\r\n", "").encode()


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_table_is_for_the_same_people_after_a_stream_is_gone_from_it(tmp_path: Path, mode: int) -> None:
    table = tmp_path / "rated.csv"
    table.write_text("path,stream_id\na,gone\nb,kept\n")
    table.chmod(mode)
    note_export(tmp_path / "data", "ratings", table, 0.0)
    assert forget(Machine(tmp_path, ClipStore(str(tmp_path / "clips"))), "gone")["export"].count == 1
    assert table.stat().st_mode & 0o777 == mode


def test_a_table_cannot_lead_a_deletion_out_of_its_folder(tmp_path: Path) -> None:
    mine = write(tmp_path / f"{'a' * 64}.ts")
    table = tmp_path / "out" / "queue.csv"
    table.parent.mkdir()
    table.write_text(f"path,stream_id\n../{mine.name},gone\n{mine},gone\n")
    note_export(tmp_path / "data", "queue", table.parent, 0.0)
    assert forget(Machine(tmp_path, ClipStore(str(tmp_path / "clips"))), "gone")["export"].count == 2
    assert mine.exists()


def test_damaged_notes_of_exports_are_left_out(tmp_path: Path) -> None:
    note_export(tmp_path, "queue", tmp_path / "out", 5.0)
    for name, text in (
        ("a", "{"),
        ("b", "[]"),
        ("c", '{"kind": "x", "path": "", "at": 0}'),
        ("d", '{"kind": "queue", "path": "zz"}'),
    ):
        (tmp_path / "exports" / f"{name}.json").write_text(text)
    assert [(export.path, export.at) for export in exports(tmp_path)] == [(tmp_path / "out", 5.0)]


@pytest.mark.parametrize("stream", ["", "a" * 257, "\udcff"])
def test_what_no_event_can_be_called_is_refused(stream: str) -> None:
    with pytest.raises(ValueError, match="stream's id"):
        checked_id(stream)


def command(tmp_path: Path, *words: str, answer: str | None = None) -> Any:
    environment = {"FVQ_DATA_DIR": str(tmp_path / "data"), "FVQ_BROKER": None, "FVQ_CONFIG": None}
    return CliRunner().invoke(app, ["forget", *words], env=environment, input=answer)


async def test_the_command_says_what_it_did_and_what_it_cannot_reach(tmp_path: Path) -> None:
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "data/clips")))
    await fill(machine, "gone", "kept")
    refused = command(tmp_path, "gone")
    assert refused.exit_code != 0
    assert "--yes" in str(refused.exception), "off a terminal nobody can be asked"
    assert len(machine.store.example_ids("gone")) == 2
    looked = command(tmp_path, "gone", "--dry-run")
    assert "clips: 2 would be deleted" in looked.output
    assert len(machine.store.example_ids("gone")) == 2
    done = command(tmp_path, "gone", "--yes", "--json")
    report = json.loads(done.output)
    assert (done.exit_code, report["ok"], report["stream_id"]) == (0, True, "gone")
    clips = next(step for step in report["steps"] if step["store"] == "clips")
    assert clips == {
        "store": "clips", "where": (tmp_path / "data/clips").as_uri(), "outcome": "deleted", "count": 2, "text": "",
    }  # fmt: skip
    again = command(tmp_path, "gone", "--yes")
    assert again.exit_code == 0
    assert "clips: nothing" in again.output
    assert "Kafka: not all; no broker is set, so nothing on Kafka was looked at (FVQ_BROKER)" in again.output
    assert "a stream that goes on comes back" in again.output


def test_the_command_asks_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.cli.forget._may_ask", lambda: True)
    assert command(tmp_path, "a\x1bb", answer="n\n").exit_code == 1
    yes = command(tmp_path, "a\x1bb", answer="y\n")
    assert yes.exit_code == 0
    assert "\x1b" not in yes.output


def test_the_command_fails_where_a_store_does(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / FILE).write_bytes(b"no database at all" * 999)
    failed = command(tmp_path, "gone", "--yes")
    assert failed.exit_code == 1
    assert "scores in SQLite: FAILED" in failed.output


def test_an_object_store_that_raises_what_it_likes_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(tmp_path, ClipStore(str(tmp_path / "clips")))

    def fail(_: str) -> int:
        raise RuntimeError("no credentials")

    monkeypatch.setattr(machine.store, "delete_stream", fail)
    done = forget(machine, "gone")
    assert (done["clips"].outcome, done["clips"].text) == ("failed", "RuntimeError: no credentials")
    assert done["cut segments"].outcome == "nothing"
