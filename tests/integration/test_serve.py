"""`fvq serve` as a process, with the real `nano`: scores, versions that change under load, and a stop that loses no request."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from scorer.load import load_engine
from scorer.registry import Registry
from scorer.remote.wire import pack
from tests.support.doubles import make_clip
from tests.support.processes import fvq
from tests.support.serve_process import SPEC, STATISTICS, TOKEN, Served, clips_of, fvq_serve, variant
from tests.support.waiting import lost_time, wait_for

RELOAD_SECONDS = 400.0
"""Longest time until a promoted version scores: two processes import torch for it. On an idle core it takes 15 s; on cores that
others use, too, 155 were seen."""

LONGEST = 20.0
"""Seconds that a request may take while a version is loaded beside the other one. On an idle core it takes a third of one; on
cores that others use, too, ten were seen. Where loading takes long, it may take half of that: it must not wait for the load."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with fvq_serve(tmp_path) as served:
        yield served


@dataclass
class Load:
    """Clients that send without a pause while the context lasts. answers: (when it came, seconds, status, document)."""

    served: Served
    bodies: Sequence[bytes]
    answers: list[list[tuple[float, float, int, Any]]] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Load:
        for body in self.bodies:
            own: list[tuple[float, float, int, Any]] = []
            self.answers.append(own)
            self.threads.append(threading.Thread(target=self._send, args=(body, own)))
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _send(self, body: bytes, answers: list[tuple[float, float, int, Any]]) -> None:
        while not self.stop.is_set():
            began = time.monotonic()
            status, document = self.served.request("POST", "/v1/score", body)
            answers.append((time.monotonic(), time.monotonic() - began, status, document))


@pytest.mark.timeout(1200)
def test_versions_change_under_load_and_no_request_is_lost_or_late(served: Served, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    shipped = served.version()
    registry.publish("nano", "stricter", variant(tmp_path / "stricter", -1.0))
    registry.publish("nano", "bad", variant(tmp_path / "bad", float("nan")))
    clips = clips_of(8)
    bodies = [pack(clips[:count], SPEC) for count in (1, 3, 8)]
    with Load(served, bodies) as load, lost_time() as lost:
        wait_for("answers", lambda: all(load.answers), 90)
        registry.promote("nano", "stricter")
        loading = wait_for("the new version", lambda: served.version() == "stricter", RELOAD_SECONDS)
        registry.promote("nano", "bad")
        wait_for("the bad version is refused", lambda: "model bad is refused" in served.process.log.read_text(), RELOAD_SECONDS)
        assert served.version() == "stricter"
        registry.rollback("nano")
    assert all(load.answers)
    for body_answers, count in zip(load.answers, (1, 3, 8), strict=True):
        assert {status for _, _, status, _ in body_answers} == {200}
        versions = [document["model"]["version"] for _, _, _, document in body_answers]
        assert [version for version, _ in groupby(versions)] == [shipped, "stricter"]
        for version in (shipped, "stricter"):
            name = "nano" if version == shipped else str(tmp_path / "stricter")
            expected = [score.score for score in load_engine(name, "cpu").score(clips[:count])]
            for _, _, _, document in body_answers:
                if document["model"]["version"] == version:
                    # A batch of other clips may change the last digit.
                    assert [score["score"] for score in document["scores"]] == pytest.approx(expected, abs=0.05)
    times = [seconds for answers in load.answers for _, seconds, _, _ in answers]
    print(f"\n{len(times)} requests; the slowest took {max(times):.2f} s, the mean is {sum(times) / len(times):.2f} s")
    assert max(times) < max(LONGEST, loading / 2) + lost()


@pytest.mark.timeout(600)
def test_a_version_with_another_sampling_takes_over_and_clients_are_told(served: Served, tmp_path: Path) -> None:
    other = replace(SPEC, clip_frames=12)
    registry = Registry(str(tmp_path / "registry"), tmp_path / "cache")
    registry.publish("nano", "other", variant(tmp_path / "other", 0.0, other))
    registry.promote("nano", "other")
    wait_for("the new version", lambda: served.version() == "other", RELOAD_SECONDS)
    status, document = served.request("POST", "/v1/score", pack(clips_of(1), SPEC))
    assert (status, document["spec"]) == (409, other.values())
    assert served.request("POST", "/v1/score", pack([make_clip(spec=other, statistics=STATISTICS)], other))[0] == 200


@pytest.mark.timeout(600)
def test_a_stop_answers_what_is_in_work_and_ends_with_0(served: Served) -> None:
    assert served.request("GET", "/v1/model", token="wrong")[0] == 401
    body = pack(clips_of(8), SPEC)
    answers: list[int] = []
    threads: list[threading.Thread] = []

    def all_in_work() -> bool:
        """Whether four new requests are seen in work together; False, when all are answered, if one was answered before."""
        answers.clear()
        threads[:] = [
            threading.Thread(target=lambda: answers.append(served.request("POST", "/v1/score", body)[0])) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        while not answers:
            if "queue_clips 32.0" in served.request("GET", "/metrics")[1]:
                return True
        for thread in threads:
            thread.join()
        return False

    wait_for("four requests in work", all_in_work, 120, every=0)
    assert served.process.terminate() == 0
    for thread in threads:
        thread.join()
    assert answers == [200] * 4
    assert TOKEN not in served.process.log.read_text()


def test_what_is_wrong_is_said_and_the_code_is_not_0() -> None:
    refused = fvq("serve", FVQ_SERVE_HOST="0.0.0.0")
    assert (refused.returncode, "so others can connect: set FVQ_SCORER_TOKEN" in refused.stderr) == (2, True), refused.stderr
    missing = fvq("serve", FVQ_SERVE_PORT="0", FVQ_MODEL="no-such-model")
    assert missing.returncode == 1
    assert "fvq: model 'no-such-model': there is no such directory" in missing.stderr
