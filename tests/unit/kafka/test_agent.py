"""The supervised agent: it restarts what fails, says so, and stops within its deadline."""

from __future__ import annotations

import threading
import time

import pytest
from prometheus_client import REGISTRY

from streams.kafka.agent import Agent, Pauses, running
from tests.support.waiting import wait_for

SHORT = Pauses(first=0.01, longest=0.04)


def restarts(name: str) -> float:
    return REGISTRY.get_sample_value("fvq_agent_restarts_total", {"agent": name}) or 0.0


def wait_until(reached: threading.Event) -> None:
    assert reached.wait(60), "not within 60 s"


def test_an_agent_that_fails_runs_again_and_its_failures_are_counted() -> None:
    runs: list[int] = []
    third = threading.Event()

    def run(stop: threading.Event) -> None:
        runs.append(len(runs))
        if len(runs) < 3:
            raise RuntimeError(f"failure {len(runs)}")
        third.set()
        stop.wait()

    before = restarts("flaky")
    agent = Agent("flaky", run, SHORT)
    with running([agent]):
        wait_until(third)
        assert (agent.state.state, agent.state.restarts, agent.state.error) == ("running", 2, "RuntimeError: failure 2")
        assert restarts("flaky") == before + 2
    assert agent.state.state == "stopped"


def test_a_failure_is_logged_with_the_agents_name(caplog: pytest.LogCaptureFixture) -> None:
    def run(stop: threading.Event) -> None:
        raise ValueError("no such host")

    with running([Agent("lag", run, SHORT)]):
        wait_for("the line", lambda: "outage of agent lag begins" in caplog.text, 60, 0.01)
    assert "ValueError: no such host" in caplog.text


def test_pauses_grow_to_the_longest_and_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    enough = threading.Event()
    agent = Agent("spread", lambda stop: 1 / 0, SHORT)  # type: ignore[arg-type, return-value]
    wait = agent._stop.wait

    def noted(seconds: float | None = None) -> bool:
        pauses.append(seconds or 0.0)
        if len(pauses) == 20:
            enough.set()
        return wait(0)

    monkeypatch.setattr(agent._stop, "wait", noted)
    with running([agent]):
        wait_until(enough)
    assert 0.005 <= pauses[0] <= 0.01
    assert all(0.02 <= pause <= 0.04 for pause in pauses[2:]), "from the upper half of the longest pause"
    assert len(set(pauses)) > 10, "two agents do not come back at the same moment"


def test_a_long_run_makes_the_next_pause_the_shortest_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.kafka.agent.HEALTHY_SECONDS", 0.0)
    pauses: list[float] = []
    enough = threading.Event()
    agent = Agent("healthy", lambda stop: 1 / 0, Pauses(0.01, 10.0))  # type: ignore[arg-type, return-value]
    fail = agent._fail

    def noted(error: Exception, pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 4:
            enough.set()
        fail(error, pause)

    monkeypatch.setattr(agent, "_fail", noted)
    with running([agent]):
        wait_until(enough)
    assert pauses[:4] == [0.01] * 4


def test_agents_stop_together_within_the_deadline_even_if_one_hangs() -> None:
    release = threading.Event()
    agents = [Agent(f"slow {number}", lambda stop: release.wait(600) and None) for number in range(3)]
    try:
        with running(agents, stop_seconds=0.3):
            started = time.monotonic()
        assert time.monotonic() - started < 60
        assert {agent.state.state for agent in agents} == {"running"}, "they have not stopped, and do not say so"
    finally:
        release.set()


def test_an_agent_that_pauses_stops_at_once() -> None:
    failed = threading.Event()

    def run(stop: threading.Event) -> None:
        failed.set()
        raise RuntimeError("away")

    agent = Agent("pausing", run, Pauses(600.0, 600.0))
    with running([agent], stop_seconds=60):
        wait_until(failed)
    assert agent.state.state == "stopped", "its pause is 300 s at least"
