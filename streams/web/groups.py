"""Groups of alerts: one incident for the forty streams that fell together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from streams.events import QualityAlert

TOGETHER_SECONDS = 30.0
"""Alerts that start within this time may have one cause."""

LEAST_STREAMS = 3
LEAST_SHARE = 0.5
"""A group has at least so many streams, and so many of those that carry its label: else the label explains nothing."""


@dataclass(frozen=True)
class Group:
    """Alerts of one kind on streams of one label. alerts: in the order of their start. of: streams that carry the label."""

    label: str
    value: str
    kind: str
    alerts: tuple[QualityAlert, ...]
    of: int

    @property
    def streams(self) -> int:
        """Streams with such an alert."""
        return len({alert.stream_id for alert in self.alerts})

    @property
    def seconds(self) -> float:
        """From the first alert's start to the last one's."""
        return (self.alerts[-1].started_at - self.alerts[0].started_at).total_seconds()

    @property
    def text(self) -> str:
        """The group in a sentence."""
        who = f"{self.streams} of {self.of} streams with {self.label}:{self.value}"
        return f"{who}: {self.kind} within {self.seconds:.0f} s"

    def as_item(self) -> dict[str, object]:
        """The group as the API's `GroupItem`."""
        first = self.alerts[0].started_at
        return {
            "label": self.label,
            "value": self.value,
            "kind": self.kind,
            "streams": self.streams,
            "of": self.of,
            "started_at": first.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "seconds": round(self.seconds, 1),
            "alerts": [alert.alert_id for alert in self.alerts],
            "text": self.text,
        }


def groups_of(alerts: Iterable[QualityAlert], fleet: Iterable[Mapping[str, str]], by: str | None = None) -> list[Group]:
    """The groups of alerts that fire, the largest first. fleet: the labels of every stream. by: only groups of this label."""
    carriers = Counter((name, value) for labels in fleet for name, value in labels.items() if by is None or name == by)
    carried: defaultdict[tuple[str, str, str], list[QualityAlert]] = defaultdict(list)
    for alert in alerts:
        for name, value in alert.labels.items():
            if by is None or name == by:
                carried[name, value, alert.kind].append(alert)
    groups = [
        Group(name, value, kind, tuple(together), max(carriers[name, value], len({alert.stream_id for alert in together})))
        for (name, value, kind), members in carried.items()
        for together in _runs(sorted(members, key=lambda alert: (alert.started_at, alert.alert_id)))
    ]
    large = [group for group in groups if group.streams >= LEAST_STREAMS and group.streams >= LEAST_SHARE * group.of]
    return sorted(large, key=lambda group: (-group.streams, group.of, group.label, group.value, group.kind))


def _runs(alerts: Sequence[QualityAlert]) -> list[list[QualityAlert]]:
    """Alerts in the order of their start, divided so that each part begins and ends within `TOGETHER_SECONDS`."""
    runs: list[list[QualityAlert]] = []
    for alert in alerts:
        if runs and (alert.started_at - runs[-1][0].started_at).total_seconds() <= TOGETHER_SECONDS:
            runs[-1].append(alert)
        else:
            runs.append([alert])
    return runs
