"""The alert policy follows its file: a worker reads it again when it changes, or a file with a receiver's secret does.

A policy that cannot be read or is wrong changes nothing: the log names what is wrong, and the one before goes on.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.alerts.policy import AlertPolicy, check_policy
from streams.alerts.receiver_settings import Receiver
from streams.errors import SettingsError
from streams.kafka.agent import STOP_SECONDS, Agent

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often the files are looked at. A change counts when the next look sees the same bytes: a file may be half written."""


class PolicyWatch:
    """Looks at the files of a policy.

    path: the policy's. use: takes each policy that is read again; returns what it changed. read: from the file to the policy.
    """

    def __init__(
        self,
        path: Path,
        policy: AlertPolicy,
        use: Callable[[AlertPolicy], str],
        read: Callable[[Path], AlertPolicy] = check_policy,
    ) -> None:
        self._path, self._policy, self._use, self._read = path, policy, use, read
        self._known = self._seen = self._digests()

    def agent(self) -> Agent:
        """The supervised thread that looks."""
        return Agent("alert policy", self.run)

    def run(self, stop: threading.Event) -> None:
        """Look until `stop` is set."""
        while not stop.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Read the policy where the files have changed, and are the same as at the last look."""
        digests = self._digests()
        settled = digests == self._seen
        self._seen = digests
        if digests == self._known or not settled:
            return
        self._known = digests
        try:
            policy = self._read(self._path)
        except SettingsError as error:
            log.error("the changed alert policy %s is refused, the one before goes on: %s", self._path, error)
            return
        changes = self._use(policy)
        self._policy = policy
        self._known = self._seen = self._digests()  # the new policy may name other files
        log.info("alert policy %s is read again: %s", self._path, changes or "nothing in it has changed")

    def _digests(self) -> dict[Path, str]:
        """What is in the files; '' for one that cannot be read."""
        receivers = self._policy.receivers
        secrets = [file for receiver in receivers for file in (receiver.url_file, receiver.token_file, receiver.signing_file)]
        return {file: _digest(file) for file in (self._path, *secrets) if file is not None}


@dataclass(frozen=True)
class _Told:
    """A receiver with its secrets as they were when its courier began."""

    receiver: Receiver
    address: str
    token: str | None
    signing: str | None


class Couriers:
    """The agents of a policy's receivers, one for each.

    agents: all of the worker's; couriers come into it and leave it. courier: makes the agent of a receiver.
    """

    def __init__(self, agents: list[Agent], courier: Callable[[Receiver], Agent]) -> None:
        self._agents, self._courier = agents, courier
        self._running: dict[str, tuple[_Told, Agent]] = {}

    def use(self, receivers: Sequence[Receiver], *, start: bool = True) -> list[str]:
        """Have a courier for each of these receivers, a new one where it or its secrets have changed; returns their names.

        start: False before the worker runs its agents. Raises `SettingsError` where a secret cannot be read; it changes nothing.
        """
        wanted = {
            receiver.name: _Told(receiver, receiver.address(), receiver.token(), receiver.signing_secret())
            for receiver in receivers
        }
        others = {name for name, (told, _) in self._running.items() if wanted.get(name) != told}
        new = [told for name, told in wanted.items() if name not in self._running or name in others]
        made = [(told, self._courier(told.receiver)) for told in new]
        for name in others:
            _, agent = self._running.pop(name)
            agent.stop()
            agent.join(STOP_SECONDS)
            self._agents.remove(agent)
        for told, agent in made:
            self._running[told.receiver.name] = told, agent
            self._agents.append(agent)
            if start:
                agent.start()
        return sorted(others | {told.receiver.name for told in new})


def follow(judges: Sequence[Callable[[AlertPolicy], bool]], couriers: Couriers | None) -> Callable[[AlertPolicy], str]:
    """What a `PolicyWatch` calls.

    judges: each takes a policy; returns whether its limits are others. couriers: None in a worker that delivers no alerts.
    """

    def use(policy: AlertPolicy) -> str:
        receivers = couriers.use(policy.receivers) if couriers is not None else []
        others = [judge(policy) for judge in judges]
        changes = ["limits"] if any(others) else []
        if receivers:
            changes.append(f"receivers {', '.join(receivers)}")
        return " and ".join(changes)

    return use


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
