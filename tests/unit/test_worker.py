"""What a worker starts beside its score agent."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams import worker
from streams.alerts.course import Courses
from streams.alerts.policy import load_policy
from streams.kafka.agent import Agent
from streams.kafka.connection import Connection
from streams.settings import Settings
from tests.support.waiting import wait_for


def has_threshold(courses: Courses, threshold: float) -> bool:
    return courses._policy.alerts.low_quality.threshold == threshold


@pytest.mark.parametrize("alerts", [True, False])
def test_the_score_agents_courses_follow_a_policy_that_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alerts: bool
) -> None:
    monkeypatch.setattr("streams.alerts.watch.LOOK_SECONDS", 0.01)
    monkeypatch.setattr(worker, "check_alert_topics", lambda _: None)
    file = tmp_path / "policy.yaml"
    # A worker that delivers no alerts needs no secret of a receiver.
    receivers = "" if alerts else "receivers: [{name: a, type: json, url_file: /nowhere}]\n"
    file.write_text(receivers + "alerts: {low_quality: {threshold: 40}}")
    settings = Settings(data_dir=tmp_path, alerts=alerts, alert_policy=file, harvest=False)
    both, agents = [Courses(load_policy(file)) for _ in range(2)], list[Agent]()
    worker._add_agents(agents, settings, Connection("none:1"), tmp_path, both)
    (watch,) = (agent for agent in agents if agent.name == "alert policy")

    watch.start()
    try:
        file.write_text(receivers + "alerts: {low_quality: {threshold: 60}}")
        wait_for("the new limits", lambda: all(has_threshold(courses, 60) for courses in both), seconds=10, every=0.02)
    finally:
        watch.stop()
        watch.join(5)
