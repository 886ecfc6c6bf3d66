"""A machine's cores in a simulation: threads that run at the same time share them evenly, as a fair scheduler does."""

from __future__ import annotations

from dataclasses import dataclass

import simpy

TINY = 1e-9
"""Seconds: what is left of a job by rounding."""


@dataclass
class _Job:
    done: simpy.Event
    left: float
    threads: int


class Cores:
    """Cores that all running jobs share. count: number of cores."""

    def __init__(self, env: simpy.Environment, count: int) -> None:
        self._env, self._count = env, count
        self._jobs: list[_Job] = []
        self._since = env.now
        self._changes = 0

    def work(self, seconds: float, threads: int = 1) -> simpy.Event:
        """An event that comes when the job has had that many CPU seconds. threads: cores that it can use at once."""
        self._advance()
        done = self._env.event()
        self._jobs.append(_Job(done, seconds, threads))
        self._plan_next()
        return done

    def _speed(self) -> float:
        """Share of a core that each thread gets."""
        return min(1.0, self._count / max(1, sum(job.threads for job in self._jobs)))

    def _advance(self) -> None:
        """Account for the time since the last change."""
        passed = (self._env.now - self._since) * self._speed()
        self._since = self._env.now
        for job in self._jobs:
            job.left -= passed * job.threads

    def _plan_next(self) -> None:
        """Wake when the next job ends, unless jobs come or go before."""
        self._changes += 1
        if not self._jobs:
            return
        changes = self._changes
        seconds = min(max(job.left, 0.0) / job.threads for job in self._jobs) / self._speed()
        timeout = self._env.timeout(seconds)
        assert timeout.callbacks is not None
        timeout.callbacks.append(lambda _: self._wake(changes))

    def _wake(self, changes: int) -> None:
        if changes != self._changes:
            return
        self._advance()
        ended = [job for job in self._jobs if job.left <= TINY]
        self._jobs = [job for job in self._jobs if job.left > TINY]
        for job in ended:
            job.done.succeed()
        self._plan_next()
