"""Which streams are meant by labels: of several names all hold, of several values of one name any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LabelFilter:
    """A filter by labels. wanted: names, sorted, each with the values of which a stream has one; empty: every stream passes."""

    wanted: tuple[tuple[str, frozenset[str]], ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> LabelFilter:
        """The filter of names and values, in which a name may come several times."""
        values: dict[str, set[str]] = {}
        for name, value in pairs:
            values.setdefault(name, set()).add(value)
        return cls(tuple((name, frozenset(values[name])) for name in sorted(values)))

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def admits(self, labels: Mapping[str, str]) -> bool:
        """Whether what carries these labels is meant."""
        return all(labels.get(name) in values for name, values in self.wanted)

    def within(self, limits: Mapping[str, str]) -> LabelFilter | None:
        """What is left of the filter for who may see only streams with these labels; None where that is nothing."""
        own = dict(self.wanted)
        if any(value not in own.get(name, (value,)) for name, value in limits.items()):
            return None
        return LabelFilter(tuple(sorted((own | {name: frozenset((value,)) for name, value in limits.items()}).items())))


def has_text(stream_id: str, labels: Mapping[str, str], text: str) -> bool:
    """Whether a stream's id or one of its labels, as name:value, has this text, as on the page, in capital or small letters."""
    wanted, texts = text.casefold(), (stream_id, *(f"{name}:{value}" for name, value in labels.items()))
    return any(wanted in known.casefold() for known in texts)
