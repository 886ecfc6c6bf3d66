"""A changed policy is read again: limits, receivers and their secrets."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alerts.agent import AlertAgent, _Partition, _Stream
from streams.alerts.policy import AlertPolicy, check_policy, parse_policy
from streams.alerts.receiver_settings import Receiver
from streams.alerts.state import StreamState
from streams.alerts.watch import Couriers, PolicyWatch, follow
from streams.errors import SettingsError
from streams.kafka.agent import Agent
from streams.kafka.connection import Connection
from streams.kafka.consumer import Group


def receivers(*names: str, **fields: Any) -> list[Receiver]:
    return [Receiver.model_validate({"name": name, "type": "json", "url": f"http://{name}"} | fields) for name in names]


def couriers(agents: list[Agent]) -> Couriers:
    return Couriers(agents, lambda receiver: Agent(f"alerts to {receiver.name}", lambda stop: stop.wait() and None))


def named(agents: list[Agent]) -> list[str]:
    return sorted(agent.name for agent in agents)


def running_of(agents: list[Agent], name: str) -> Agent:
    (agent,) = (agent for agent in agents if agent.name == f"alerts to {name}")
    return agent


class Watched:
    """A watch of a policy's file, and what it was given."""

    def __init__(self, folder: Path, text: str) -> None:
        self.file = folder / "policy.yaml"
        self.file.write_text(text)
        self.policies: list[AlertPolicy] = []
        self.watch = PolicyWatch(self.file, check_policy(self.file), self._use)

    def _use(self, policy: AlertPolicy) -> str:
        self.policies.append(policy)
        return "limits"

    def look(self, times: int = 3) -> list[AlertPolicy]:
        for _ in range(times):
            self.watch.look()
        return self.policies


def test_a_changed_policy_is_read_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watched = Watched(tmp_path, "alerts: {smoothing: 3}")
    assert watched.look() == []
    watched.file.write_text("alerts: {smoothing: 4}")
    (policy,) = watched.look(5)
    assert policy.alerts.smoothing == 4
    assert [record.getMessage() for record in caplog.records] == [f"alert policy {watched.file} is read again: limits"]


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    watched = Watched(tmp_path, "alerts: {smoothing: 3}")
    for text in ("alerts: {smoothing: 4}", "alerts: {smoothing: 4, black: {minimum: 1}}", "alerts: {}"):
        watched.file.write_text(text)
        assert watched.look(1) == [], "the next look sees other bytes"
    assert len(watched.look(1)) == 1


@pytest.mark.parametrize(
    "text", ["alerts: {smoothing: -1}", "alerts: [", "receivers: [{name: a, type: json, url_file: /nowhere}]", None]
)
def test_a_wrong_policy_changes_nothing_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    watched = Watched(tmp_path, "alerts: {smoothing: 3}")
    watched.file.unlink() if text is None else watched.file.write_text(text)
    assert watched.look(6) == []
    assert caplog.text.count("the one before goes on") == 1
    watched.file.write_text("alerts: {smoothing: 5}")
    assert len(watched.look()) == 1


def test_a_rotated_secret_is_a_change_though_the_policy_is_the_same(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("one")
    text = f"receivers: [{{name: hook, type: json, url: 'http://hook', token_file: {secret}}}]"
    watched = Watched(tmp_path, text)
    secret.write_text("two")
    (policy,) = watched.look()
    assert policy.receivers[0].token() == "two"


def test_only_receivers_that_changed_get_a_new_courier(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("one")
    agents: list[Agent] = [Agent("lag", lambda stop: None)]
    group = couriers(agents)
    first = [*receivers("a", "b"), *receivers("c", token_file=secret)]
    assert group.use(first) == ["a", "b", "c"]
    kept, old = running_of(agents, "a"), running_of(agents, "c")
    assert group.use(first) == []
    secret.write_text("two")
    assert group.use([*receivers("a"), *receivers("c", token_file=secret), *receivers("d")]) == ["b", "c", "d"]
    assert named(agents) == ["alerts to a", "alerts to c", "alerts to d", "lag"]
    assert running_of(agents, "a") is kept
    assert (old.state.state, running_of(agents, "c").state.state) == ("stopped", "running")
    secret.unlink()
    with pytest.raises(SettingsError, match="cannot be read"):
        group.use([*receivers("c", token_file=secret)])
    assert named(agents) == ["alerts to a", "alerts to c", "alerts to d", "lag"]
    group.use([])
    assert named(agents) == ["lag"]


@given(st.lists(st.sets(st.sampled_from("abcd")), max_size=6))
def test_the_couriers_are_those_of_the_last_policy(policies: list[set[str]]) -> None:
    agents: list[Agent] = []
    group = couriers(agents)
    for names in policies:
        group.use(receivers(*names))
        assert named(agents) == sorted(f"alerts to {name}" for name in names)
    group.use([])


def test_what_changed_is_said() -> None:
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), AlertPolicy())
    agents: list[Agent] = []
    use = follow([agent.use], couriers(agents))
    assert use(parse_policy({})) == ""
    assert use(parse_policy({"alerts": {"smoothing": 5}})) == "limits"
    changed = AlertPolicy(receivers=receivers("on-call"))
    assert use(changed) == "limits and receivers on-call"
    for running in list(agents):
        running.stop()


def test_all_who_judge_get_the_policy_also_without_receivers() -> None:
    policies: list[AlertPolicy] = []

    def judge(policy: AlertPolicy) -> bool:
        policies.append(policy)
        return True

    changed = AlertPolicy(receivers=receivers("on-call"))
    assert follow([judge, judge], None)(changed) == "limits"
    assert policies == [changed, changed]


def test_streams_without_new_scores_get_the_new_limits_too() -> None:
    agent = AlertAgent(Connection("none:1"), Group("fvq", 10), AlertPolicy())
    state = StreamState("a", labels={"tier": "premium"})
    agent._partitions[0] = _Partition({"a": _Stream(state, AlertPolicy().of({}), time.monotonic())})
    new = parse_policy({"overrides": [{"labels": {"tier": "premium"}, "alerts": {"no_segments": {"after": 5}}}]})
    assert agent.use(new)
    agent._take_limits(new)
    assert agent._partitions[0].streams["a"].limits.no_segments.after == 5


def test_the_watch_is_an_agent_that_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.alerts.watch.LOOK_SECONDS", 0.01)
    watched = Watched(tmp_path, "alerts: {smoothing: 3}")
    agent, stop = watched.watch.agent(), threading.Event()
    assert agent.name == "alert policy"
    thread = threading.Thread(target=watched.watch.run, args=(stop,))
    thread.start()
    watched.file.write_text("alerts: {smoothing: 4}")
    deadline = time.monotonic() + 10
    while not watched.policies and time.monotonic() < deadline:
        time.sleep(0.01)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
    assert len(watched.policies) == 1
