"""The sampler pool with real child processes that hang, die, or need too much memory."""

from __future__ import annotations

import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.errors import MediaError
from scorer.process import data_bytes, limit
from scorer.sampling import SamplerPool, probe
from scorer.sampling.detectors import process_detectors
from scorer.spec import SamplerSpec
from tests.support.media import make_clip, with_empty_tracks

pytestmark = pytest.mark.slow

PATIENCE = 240
"""Seconds for an answer on a busy machine: longer than a child may take to start, and longer than a task may take."""


@pytest.fixture(scope="module")
def pool() -> Iterator[SamplerPool]:
    # One child, so that each task runs in the state that the task before has left.
    with SamplerPool(SamplerSpec(), workers=1, timeout=120, memory_mb=512) as pool:
        yield pool


def own_pid() -> int:
    return os.getpid()


def hang() -> None:
    time.sleep(600)


def wait_for_file(path: Path) -> None:
    while not path.exists():
        time.sleep(0.05)


def allocate(mebibytes: int) -> int:
    return len(bytearray(mebibytes * 2**20))


def find_faces_at_the_limit(megabytes: int) -> None:
    """Look for faces when that many MiB are left."""
    limit(resource.RLIMIT_DATA, data_bytes() + megabytes * 2**20)
    process_detectors().faces.find(np.zeros((192, 192, 3), np.uint8))


def start_a_thread_at_the_limit() -> None:
    filled = []
    for size in (32 * 2**20, 2**20):
        try:
            while True:
                filled.append(bytearray(size))
        except MemoryError:
            continue
    threading.Thread(target=len, args=(filled,)).start()


def raise_os_error(number: int) -> None:
    raise OSError(number, os.strerror(number))


def die(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(5)


def die_once(flag: Path) -> str:
    if flag.exists():
        return "done"
    flag.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def die_while_answering() -> Any:
    return _Deadly()


class _Deadly:
    def __reduce__(self) -> tuple[Any, ...]:
        os.kill(os.getpid(), signal.SIGKILL)
        return (int, ())


def fail() -> None:
    raise ZeroDivisionError("by design")


def refuse() -> None:
    raise MediaError("no picture", kind="no-video")


def error_of(pool: SamplerPool, *task: Any) -> MediaError:
    with pytest.raises(MediaError) as caught:
        pool.submit_task(*task).result(PATIENCE)
    return caught.value


def gone(pid: int, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_clips_are_sampled_in_a_child(pool: SamplerPool, face_clip: Path) -> None:
    sampled = pool.submit(face_clip, window_seconds=2.0).result(PATIENCE)
    assert [window.start for window, _ in sampled] == [0, 2]
    assert sampled[0][1].face_summary.count == 1
    assert pool.submit_task(own_pid).result(PATIENCE) != os.getpid()


def test_a_file_is_probed_in_a_child_and_a_hostile_one_harms_no_other(pool: SamplerPool, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "good.mp4", 160, 120, 0.4)
    hostile = with_empty_tracks(clip, tmp_path / "tracks.mp4", 1001)
    with pytest.raises(MediaError, match="limit of 512 MiB") as caught:
        pool.submit_task(probe, hostile).result(PATIENCE)
    assert caught.value.kind == "memory"
    assert pool.submit_task(probe, clip).result(PATIENCE) == probe(clip)


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_what_is_no_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4" if kind != "device" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    with pytest.raises(MediaError):
        probe(path)


def test_media_errors_come_back_unchanged(pool: SamplerPool) -> None:
    error = error_of(pool, refuse)
    assert (error.reason, error.kind) == ("no picture", "no-video")
    error = error_of(pool, fail)
    assert error.kind == "failed"
    assert "ZeroDivisionError: by design" in error.reason


def test_a_task_that_hangs_is_killed_at_the_timeout_and_the_next_one_runs() -> None:
    # A pool of its own: a time that this test can wait for is too short for the work of the others.
    with SamplerPool(SamplerSpec(), workers=1, timeout=6, memory_mb=512) as pool:
        pid = pool.submit_task(own_pid).result(PATIENCE)
        assert error_of(pool, hang).kind == "timeout", "the task itself ends after 600 s, without an error"
        assert pool.submit_task(own_pid).result(PATIENCE) != pid
        assert gone(pid)


def test_a_task_over_the_memory_limit_is_refused_and_the_next_one_runs(pool: SamplerPool) -> None:
    assert pool.submit_task(allocate, 200).result(PATIENCE) == 200 * 2**20
    error = error_of(pool, allocate, 700)
    assert error.kind == "memory"
    assert "512 MiB" in error.reason
    assert pool.submit_task(allocate, 200).result(PATIENCE)


def test_no_memory_for_a_threads_stack_is_the_memory_limit(pool: SamplerPool) -> None:
    assert error_of(pool, start_a_thread_at_the_limit).kind == "memory"
    assert error_of(pool, raise_os_error, errno.EAGAIN).kind == "memory"
    assert error_of(pool, raise_os_error, errno.ENOMEM).kind == "memory"
    assert error_of(pool, raise_os_error, errno.EIO).kind == "failed"
    assert pool.submit_task(allocate, 200).result(PATIENCE)


@pytest.mark.parametrize("megabytes", [0, 3])
def test_no_memory_for_a_detector_is_the_memory_limit(pool: SamplerPool, megabytes: int) -> None:
    assert error_of(pool, find_faces_at_the_limit, megabytes).kind == "memory"
    assert pool.submit_task(allocate, 200).result(PATIENCE)


def test_a_4k_clip_fits_into_the_memory_limit(pool: SamplerPool, tmp_path: Path) -> None:
    path = make_clip(tmp_path / "4k.mp4", 3840, 2160, 0.3, 30, options=("-preset", "ultrafast", "-pix_fmt", "yuv420p"))
    ((_, clip),) = pool.submit(path).result(PATIENCE)
    assert (clip.info.width, clip.info.height) == (3840, 2160)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_child_that_dies_loses_only_its_task(pool: SamplerPool, number: signal.Signals) -> None:
    dying = pool.submit_task(die, int(number))
    after = pool.submit_task(own_pid)
    with pytest.raises(MediaError) as caught:
        dying.result(PATIENCE)
    assert caught.value.kind == "killed"
    assert number.name in caught.value.reason
    assert after.result(PATIENCE)


def test_a_child_that_is_killed_while_it_answers_or_is_idle_is_replaced(pool: SamplerPool) -> None:
    assert error_of(pool, die_while_answering).kind == "killed"
    pid = pool.submit_task(own_pid).result(PATIENCE)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    assert pool.submit_task(own_pid).result(PATIENCE) != pid


def test_a_task_whose_child_was_killed_is_retried_once(pool: SamplerPool, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    assert pool.submit_task(die_once, flag).result(PATIENCE) == "done"
    assert flag.exists()


def test_children_ignore_interrupts(pool: SamplerPool) -> None:
    pid = pool.submit_task(own_pid).result(PATIENCE)
    os.kill(pid, signal.SIGINT)
    assert pool.submit_task(own_pid).result(PATIENCE) == pid


def test_a_waiting_task_can_be_cancelled(pool: SamplerPool, tmp_path: Path) -> None:
    running = pool.submit_task(wait_for_file, tmp_path / "goes-on")
    waiting = pool.submit_task(hang)
    assert waiting.cancel()
    (tmp_path / "goes-on").touch()
    assert running.result(PATIENCE) is None
    assert pool.submit_task(own_pid).result(PATIENCE)


def test_close_answers_all_tasks_and_ends_the_children() -> None:
    pool = SamplerPool(SamplerSpec(), workers=1, timeout=600, memory_mb=512)
    pid = pool.submit_task(own_pid).result(PATIENCE)
    futures = [pool.submit_task(hang) for _ in range(3)]
    time.sleep(0.2)
    began = time.monotonic()
    pool.close()
    assert time.monotonic() - began < 60, "the tasks would take 600 s each"
    for future in futures:
        with pytest.raises(MediaError) as caught:
            future.result(60)
        assert caught.value.kind == "stopped"
    assert gone(pid)
    with pytest.raises(RuntimeError):
        pool.submit_task(own_pid)


PARENT = """
import sys, time
from scorer.sampling import SamplerPool
from scorer.spec import SamplerSpec
from tests.unit.scorer.test_pool import own_pid, hang

if __name__ == "__main__":
    pool = SamplerPool(SamplerSpec(), workers=1, timeout=600, memory_mb=512)
    print(pool.submit_task(own_pid).result(100), flush=True)
    pool.submit_task(hang)
    time.sleep(100)
"""


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = str(Path(__file__).parents[3])
    environment = os.environ | {"PYTHONPATH": root}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    assert gone(child)


def test_the_time_of_each_task_is_told_and_what_waits_is_counted(tmp_path: Path) -> None:
    seconds: list[float] = []
    with SamplerPool(SamplerSpec(), 1, 120, 512, seconds.append) as pool:
        held = pool.submit_task(wait_for_file, tmp_path / "goes-on")
        first = pool.submit_task(time.sleep, 0.3)
        second = pool.submit_task(raise_os_error, errno.ENOENT)
        assert pool.waiting() >= 2
        (tmp_path / "goes-on").touch()
        for done in (held, first):
            done.result(PATIENCE)
        with pytest.raises(MediaError):
            second.result(PATIENCE)
        assert pool.waiting() == 0
    assert len(seconds) == 3
    assert seconds[1] >= 0.3


def test_where_no_process_can_start_no_segment_is_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr("scorer.sampling.shared_memory.os.memfd_create", no_memory)
    with SamplerPool(SamplerSpec(), workers=1, timeout=120, memory_mb=512) as pool:
        error = error_of(pool, own_pid)
    assert error.kind == "setup"
    assert "Too many open files" in error.reason
