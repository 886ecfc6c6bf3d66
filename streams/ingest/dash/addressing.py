"""Reads where a Representation's segments are: `BaseURL`, `SegmentTemplate`, `SegmentTimeline`, `SegmentList`, inherited."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from xml.etree.ElementTree import Element

from streams.ingest.dash.notation import LARGEST, filled, range_of, whole_of
from streams.ingest.dash.values import SECOND, Addressing, ListedSegment, Run
from streams.ingest.hls.addresses import MOST_ADDRESSED, TOO_MUCH_ADDRESSED, urljoin_safe
from streams.ingest.hls.notation import LONGEST_SEGMENT
from streams.ingest.hls.values import InitSegment, PlaylistError

MOST_SERVERS = 8
"""Addresses that may stand in for each other."""

MOST_LISTED = 20_000
"""Segments of a list, as in an HLS playlist."""

MOST_ENTRIES = 200_000
"""Entries of timelines and lists that are read for all Representations together: those that share one count once."""

SHORTEST_SEGMENT, SHORTEST_TEMPLATE = 0.001, 0.1
"""Seconds: of a listed segment, because its date in milliseconds names it; of those that come by the clock, whose number nothing
else bounds."""

_KINDS = ("SegmentTemplate", "SegmentList", "SegmentBase")


IN_PARTS = "its segments are in parts with addresses of their own ($SubNumber$, S@k), which are not announced"


class UnreadableError(ValueError):
    """A part of a manifest cannot be read. Its text is the part's name."""


class UnusableError(Exception):
    """A Representation cannot be announced, for the reason that its text says."""


@dataclass(frozen=True)
class Base:
    """An address that others are relative to. early: microseconds, as `availabilityTimeOffset` says."""

    uri: str
    early: int = 0


class AddressingReader:
    """Reads addressing. children: the children of an element by name. dropped: counts what cannot be read. allowed: whether media
    may be fetched from an address. redundant: whether an element names several servers."""

    def __init__(
        self, children: Callable[[Element, str], Iterator[Element]], dropped: Counter[str], allowed: Callable[[str], bool]
    ) -> None:
        self._children, self._dropped, self._allowed = children, dropped, allowed
        self.redundant = False
        self._left, self._addressed = MOST_ENTRIES, 0
        self._timelines: dict[tuple[int, int, int, int | None], tuple[Run, ...]] = {}
        self._in_parts: set[tuple[int, int, int, int | None]] = set()
        self._lists: dict[tuple[int, str], tuple[ListedSegment, ...]] = {}

    def bases(self, above: tuple[Base, ...], element: Element) -> tuple[Base, ...]:
        """What addresses below this element are relative to; empty where all it names are of a kind that is not fetched."""
        given = list(islice(self._children(element, "BaseURL"), MOST_SERVERS))
        if not given:
            return above
        self.redundant |= len(given) > 1
        bases = []
        for base in above:
            for child in given:
                uri = urljoin_safe(base.uri, (child.text or "").strip())
                if uri is None:
                    self._dropped["BaseURL"] += 1
                else:
                    bases.append(
                        Base(
                            uri,
                            base.early + self._early(child.get("availabilityTimeOffset"), child.get("availabilityTimeComplete")),
                        )
                    )
        return tuple(bases[:MOST_SERVERS])

    def read(
        self,
        levels: Sequence[Element],
        bases: tuple[Base, ...],
        known: Mapping[str, str | int],
        dynamic: bool,
    ) -> Addressing:
        """The addressing of a Representation.

        levels: Period, AdaptationSet and Representation. bases: the servers, of which the first allowed one is taken. known: the
        fields of templates that are the Representation's. Raises `UnusableError`, or `UnreadableError`.
        """
        kind, elements = self._of_one_kind(levels)
        if kind in ("", "SegmentBase"):
            raise UnusableError("each Representation is one file (SegmentBase, or BaseURL alone), without segments to announce")
        merged = _Merged(elements, self._children)
        timescale = merged.whole("timescale", 1)
        if timescale == 0:
            raise UnreadableError(f"{kind}@timescale")
        early = self._early(merged.get("availabilityTimeOffset"), merged.get("availabilityTimeComplete"))
        reading = Addressing(timescale, merged.whole("presentationTimeOffset", 0), (), "")
        for base in bases:
            addressing = replace(reading, base=base.uri, early=base.early + early, init=self._init(merged, base.uri, known))
            is_template = kind == "SegmentTemplate"
            addressing = self._templated(merged, addressing, known) if is_template else self._listed(merged, addressing, dynamic)
            if self._is_allowed(addressing):
                return addressing
            self._dropped["BaseURL"] += 1
        raise UnusableError(
            "its media are at addresses that may not be fetched (only http and https, FVQ_FETCH_HOSTS, FVQ_FETCH_PRIVATE)"
        )

    def _of_one_kind(self, levels: Sequence[Element]) -> tuple[str, list[Element]]:
        """The kind of addressing that the innermost level has, and the elements of it, outermost first."""
        given = ((kind, list(self._children(level, kind))) for level in reversed(levels) for kind in _KINDS)
        kind = next((kind for kind, elements in given if elements), "")
        return kind, [element for level in levels for element in islice(self._children(level, kind), 1)]

    def _early(self, offset: str | None, complete: str | None) -> int:
        """`availabilityTimeOffset`, microseconds. A segment that may be fetched while it is made is complete at its end only."""
        try:
            seconds = float(offset or "0")
        except ValueError:
            self._dropped["@availabilityTimeOffset"] += 1
            return 0
        return round(seconds * SECOND) if (complete or "").strip() != "false" and 0 < seconds <= LONGEST_SEGMENT else 0

    def _is_allowed(self, addressing: Addressing) -> bool:
        """Whether its init segment and its first segment may be fetched."""
        init = addressing.init
        first = addressing.listed[0].uri if addressing.listed else address_of(addressing, 0, 0)
        return first is not None and self._allowed(first) and (init is None or self._allowed(init.uri))

    def _init(self, merged: _Merged, base: str, known: Mapping[str, str | int]) -> InitSegment | None:
        template = merged.get("initialization")
        element = merged.child("Initialization")
        if template is not None:
            uri, byte_range = urljoin_safe(base, filled(template, known)), None
        elif element is not None:
            uri = urljoin_safe(base, element.get("sourceURL", ""))
            byte_range = range_of(element.get("range", "")) if element.get("range") is not None else None
        else:
            return None
        if uri is None:
            raise UnreadableError("Initialization")
        return InitSegment(uri, byte_range)

    def _templated(self, merged: _Merged, found: Addressing, known: Mapping[str, str | int]) -> Addressing:
        media = merged.get("media")
        if media is None:
            raise UnreadableError("SegmentTemplate@media")
        if "$SubNumber" in media:
            raise UnusableError(IN_PARTS)
        number, last = merged.whole("startNumber", 1), merged.get("endNumber")
        try:
            filled(media, {**known, "Number": number, "Time": 0})
        except ValueError:
            raise UnreadableError("SegmentTemplate@media") from None
        timeline = merged.child("SegmentTimeline")
        if timeline is not None:
            runs = self._timeline(timeline, found, number)
        else:
            count = whole_of(last) - number + 1 if last is not None else None
            if count is not None and count <= 0:
                raise UnreadableError("SegmentTemplate@endNumber")
            runs = (Run(found.offset, _lasting(merged.whole("duration", 0), found.timescale, SHORTEST_TEMPLATE), number, count),)
        return replace(found, runs=runs, media=media, known=known)

    def _listed(self, merged: _Merged, found: Addressing, dynamic: bool) -> Addressing:
        listed = self._segments(list(islice(merged.children("SegmentURL"), MOST_LISTED + 1)), found.base)
        number, timeline = merged.whole("startNumber", 1), merged.child("SegmentTimeline")
        if timeline is not None:
            runs = self._timeline(timeline, found, 0, len(listed))
        else:
            duration = _lasting(merged.whole("duration", 0), found.timescale, SHORTEST_SEGMENT)
            # A live list slides: its first number says how many came before it.
            before = (number - 1) * duration if dynamic else 0
            runs = (Run(found.offset + before, duration, 0, len(listed)),)
        return replace(found, runs=runs, listed=listed)

    def _segments(self, elements: Sequence[Element], base: str) -> tuple[ListedSegment, ...]:
        """The entries of a list, which several Representations may share."""
        if not 0 < len(elements) <= MOST_LISTED:
            raise UnreadableError("SegmentList")
        key = id(elements[0]), base
        if key not in self._lists:
            self._spend(len(elements))
            self._lists[key] = tuple(self._segment(element, base) for element in elements)
        return self._lists[key]

    def _segment(self, element: Element, base: str) -> ListedSegment:
        """An entry of a list. One that cannot be read keeps its place in time, without an address."""
        try:
            text = element.get("mediaRange")
            byte_range = range_of(text) if text is not None else None
            uri = urljoin_safe(base, element.get("media", ""))
        except ValueError:
            uri = None
        if uri is None:
            self._dropped["SegmentURL"] += 1
            return ListedSegment("")
        self._addressed += len(uri)
        if self._addressed > MOST_ADDRESSED:
            raise PlaylistError(TOO_MUCH_ADDRESSED)
        return ListedSegment(uri, byte_range)

    def _spend(self, entries: int) -> None:
        """Count entries of lists and timelines that are read. Raises `PlaylistError` where they are too many."""
        self._left -= entries
        if self._left < 0:
            raise PlaylistError(f"the manifest's timelines and lists have more than {MOST_ENTRIES} entries")

    def _timeline(self, timeline: Element, found: Addressing, number: int, most: int | None = None) -> tuple[Run, ...]:
        """The runs of a timeline. An `S` that cannot be read, or that goes back in time, is left out and uses up its number.

        most: segments of the list that the timeline belongs to; the numbers are places in it then. Several Representations may
        share it.
        """
        key = id(timeline), found.timescale, number, most
        if key in self._in_parts:
            raise UnusableError(IN_PARTS)
        if key not in self._timelines:
            elements = list(self._children(timeline, "S"))
            self._spend(len(elements))
            try:
                self._timelines[key] = self._runs(elements, found.timescale, number, most)
            except UnusableError:
                self._in_parts.add(key)
                raise
        return self._timelines[key]

    def _runs(self, elements: Sequence[Element], timescale: int, number: int, most: int | None) -> tuple[Run, ...]:
        runs: list[Run] = []
        time = 0
        for index, element in enumerate(elements):
            try:
                begin = whole_of(element.get("t", str(time)))
                duration = _lasting(whole_of(element.get("d", "")), timescale, SHORTEST_SEGMENT)
                if most is None:
                    number = whole_of(element.get("n", str(number)))
                if whole_of(element.get("k", "1")) > 1:
                    raise UnusableError(IN_PARTS)
                count = _count(element, elements[index + 1 : index + 2], begin, duration, timescale)
            except (ValueError, OverflowError):
                self._dropped["S"] += 1
                number += 1
                continue
            if runs and begin <= runs[-1].time + ((runs[-1].count or 1) - 1) * runs[-1].duration:
                self._dropped["S"] += 1
                number += count or 1
                continue
            runs.append(Run(begin, duration, number, count))
            time, number = begin + (count or 1) * duration, number + (count or 1)
            if time >= LARGEST or count is None:
                break
        return _cut(runs, most) if most is not None else tuple(runs)


class _Merged:
    """Elements of one kind from several levels, as one: the innermost says last."""

    def __init__(self, elements: Sequence[Element], children: Callable[[Element, str], Iterator[Element]]) -> None:
        self._elements, self._children = list(reversed(elements)), children

    def get(self, name: str) -> str | None:
        """An attribute."""
        return next((value for element in self._elements if (value := element.get(name)) is not None), None)

    def whole(self, name: str, default: int) -> int:
        """An attribute that is a whole number of 0 or more. Raises `UnreadableError`."""
        text = self.get(name)
        try:
            return whole_of(text) if text is not None else default
        except ValueError:
            raise UnreadableError(f"@{name}") from None

    def children(self, name: str) -> Iterator[Element]:
        """The children of the innermost element that has any of this name."""
        return next((iter(found) for element in self._elements if (found := list(self._children(element, name)))), iter(()))

    def child(self, name: str) -> Element | None:
        """The first of them."""
        return next(self.children(name), None)


def address_of(addressing: Addressing, number: int, time: int) -> str | None:
    """The address of a segment of a template; None where it is none that may be in an event."""
    return urljoin_safe(addressing.base, filled(addressing.media, {**addressing.known, "Number": number, "Time": time}))


def _count(element: Element, following: Sequence[Element], begin: int, duration: int, timescale: int) -> int | None:
    """How many segments an `S` stands for; None for those up to the Period's end."""
    repeat = element.get("r", "0").strip()
    if not repeat.startswith("-"):
        return whole_of(repeat) + 1
    whole_of(repeat[1:])
    if not following:
        _lasting(duration, timescale, SHORTEST_TEMPLATE)
        return None
    return max(1, round((whole_of(following[0].get("t", "")) - begin) / duration))


def _lasting(duration: int, timescale: int, shortest: float) -> int:
    """A duration in units, where it is one of a segment. Raises `UnreadableError`."""
    if not shortest * timescale <= duration <= LONGEST_SEGMENT * timescale:
        raise UnreadableError("@duration")
    return duration


def _cut(runs: Sequence[Run], most: int) -> tuple[Run, ...]:
    """Runs for the entries of a list, and no more of them. An `S` that was left out has used up its entry, too."""
    kept = []
    for run in runs:
        left = most - run.number
        if left <= 0:
            break
        kept.append(replace(run, count=left if run.count is None else min(run.count, left)))
    return tuple(kept)
