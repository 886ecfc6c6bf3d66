"""Reads DASH manifests (MPD) as they are found: what cannot be read costs that attribute or that part, never the whole manifest.

`parse` knows no network and never waits. Links (`xlink`) are not followed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar
from xml.etree.ElementTree import Element

from streams.ingest.dash.addressing import AddressingReader, Base, UnreadableError, UnusableError
from streams.ingest.dash.elements import root_of
from streams.ingest.dash.notation import date_of, duration_of, whole_of
from streams.ingest.dash.values import SECOND, Period, Presentation, Representation, Timing
from streams.ingest.hls.addresses import urljoin_safe
from streams.ingest.hls.values import PlaylistError, Variant
from streams.text import printable

MOST_PERIODS, MOST_REPRESENTATIONS, MOST_OTHERS = 1000, 2000, 8
"""Of a manifest; the others are its Locations, timings and the servers at one level."""

LONGEST_ID = 256
"""Characters of a Representation's id: as many as a name in an event may have."""

_LEFT_OUT = {"http://dashif.org/guidelines/trickmode", "http://dashif.org/guidelines/thumbnail_tile"}
"""Sets of pictures that nobody watches as a stream."""

Found = TypeVar("Found")
Allowed = Callable[[str], bool]


def parse(body: bytes, url: str, allowed: Allowed = lambda _: True) -> Presentation:
    """What a manifest says; addresses in it are made absolute.

    url: where it came from, after redirects. allowed: whether media may be fetched from an address. Raises `PlaylistError` where
    it is no manifest, is too large, is live without an `availabilityStartTime`, or has no pictures that can be announced.
    """
    root = root_of(body)
    namespace = root.tag.rpartition("}")[0]
    if root.tag.rpartition("}")[2] != "MPD":
        raise PlaylistError(f"this is no manifest: its root is {printable(root.tag)[:80]!r}, not MPD")
    return _Reader(url, f"{namespace}}}" if namespace else "", allowed).presentation(root)


@dataclass
class _Reader:
    """The state of reading one manifest. whys: why Representations with pictures were left out."""

    url: str
    namespace: str
    allowed: Allowed
    dropped: Counter[str] = field(default_factory=Counter)
    whys: Counter[str] = field(default_factory=Counter)
    count: int = 0
    by_tag: dict[int, dict[str, list[Element]]] = field(default_factory=dict)
    values: dict[tuple[int, str], set[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.addressing = AddressingReader(self.children, self.dropped, self.allowed)

    def presentation(self, root: Element) -> Presentation:
        """The manifest, from its root."""
        dynamic = root.get("type", "static").strip() == "dynamic"
        anchor = self._optional(root, "availabilityStartTime", date_of)
        if dynamic and anchor is None:
            raise PlaylistError("the manifest is live and has no availabilityStartTime that can be read")
        whole = self._optional(root, "mediaPresentationDuration", duration_of)
        update = self._optional(root, "minimumUpdatePeriod", duration_of, 0)
        longest = self._optional(root, "maxSegmentDuration", duration_of)
        texts = ((child.text or "").strip() for child in islice(self.children(root, "Location"), MOST_OTHERS))
        locations = tuple(address for text in texts if (address := urljoin_safe(self.url, text)) is not None)
        timings = tuple(
            Timing(child.get("schemeIdUri", "").partition("utc:")[2].partition(":")[0], child.get("value", ""))
            for child in islice(self.children(root, "UTCTiming"), MOST_OTHERS)
        )
        periods = tuple(self._periods(root, dynamic, whole))
        if not any(period.representations for period in periods):
            raise PlaylistError(self._why_empty())
        return Presentation(
            dynamic, anchor, update / SECOND if update is not None and dynamic else None,
            self._optional(root, "timeShiftBufferDepth", duration_of), longest / SECOND if longest else None,
            periods, locations, timings, self.dropped, self.addressing.redundant,
        )  # fmt: skip

    def children(self, element: Element, name: str) -> Iterator[Element]:
        """The children of one name, of the manifest's own namespace."""
        by_tag = self.by_tag.get(id(element))
        if by_tag is None:
            # Each Representation asks its parents again: without this, thousands of them would each go through thousands.
            by_tag = self.by_tag[id(element)] = {}
            for child in element:
                by_tag.setdefault(child.tag, []).append(child)
        return iter(by_tag.get(self.namespace + name, ()))

    def _values(self, element: Element, name: str, attribute: str) -> set[str]:
        """An attribute of the children of one name; they are read once, too."""
        key = id(element), name
        if key not in self.values:
            self.values[key] = {child.get(attribute, "") for child in self.children(element, name)}
        return self.values[key]

    def _is_locked(self, element: Element) -> bool:
        return next(self.children(element, "ContentProtection"), None) is not None

    def _why_empty(self) -> str:
        if self.whys:
            return f"nothing in the manifest can be announced: {self.whys.most_common(1)[0][0]}"
        return "the manifest names no Representation with pictures"

    def _optional(
        self, element: Element, name: str, read: Callable[[str], Found], unreadable: Found | None = None
    ) -> Found | None:
        """An attribute; None without it, and `unreadable` where it cannot be read, which is counted."""
        text = element.get(name)
        if text is None:
            return None
        try:
            return read(text)
        except (ValueError, OverflowError):
            self.dropped[f"@{name}"] += 1
            return unreadable

    def _periods(self, root: Element, dynamic: bool, whole: int | None) -> Iterator[Period]:
        """The Periods in their order. One whose start is not known yet is left out: it is announced early."""
        elements = list(islice(self.children(root, "Period"), MOST_PERIODS + 1))
        if len(elements) > MOST_PERIODS:
            raise PlaylistError(f"the manifest has more than {MOST_PERIODS} Periods")
        bases = self.addressing.bases((Base(self.url),), root)
        locked = self._is_locked(root)
        spans: list[tuple[Element, int, int | None]] = []
        following: int | None = 0
        for element in elements:
            duration = self._optional(element, "duration", duration_of)
            start = self._optional(element, "start", duration_of)
            start = following if start is None else start
            if start is None or (spans and start < spans[-1][1]):
                self.dropped["Period"] += 1
                continue
            following = start + duration if duration else None
            spans.append((element, start, following))
        ends = [*(start for _, start, _ in spans[1:]), whole]
        for (element, start, end), next_start in zip(spans, ends, strict=False):
            known = [time for time in (end, next_start) if time is not None]
            stop = min(known) if known else None
            if stop is not None and stop <= start:
                continue
            yield Period(start, stop, tuple(self._representations(element, bases, stop is not None, locked, dynamic)))

    def _representations(
        self, period: Element, bases: tuple[Base, ...], has_end: bool, locked: bool, dynamic: bool
    ) -> Iterator[Representation]:
        bases = self.addressing.bases(bases, period)
        locked = locked or self._is_locked(period)
        for adaptation in self.children(period, "AdaptationSet"):
            set_bases = self.addressing.bases(bases, adaptation)
            set_locked = locked or self._is_locked(adaptation)
            for element in self.children(adaptation, "Representation"):
                self.count += 1
                if self.count > MOST_REPRESENTATIONS:
                    raise PlaylistError(f"the manifest has more than {MOST_REPRESENTATIONS} Representations")
                if not self._has_pictures(adaptation, element):
                    continue
                try:
                    yield self._representation((period, adaptation, element), set_bases, has_end, set_locked, dynamic)
                except UnusableError as error:
                    self.whys[str(error)] += 1
                    self.dropped["Representation"] += 1
                except (ValueError, OverflowError) as error:
                    part = error.args[0] if isinstance(error, UnreadableError) else "Representation"
                    self.whys[f"its {part} cannot be read"] += 1
                    self.dropped[part] += 1

    def _check_essential(self, adaptation: Element, element: Element) -> None:
        """Raise `UnusableError` where the segments' addresses need parameters that the templates do not have."""
        for holder in (adaptation, element):
            for scheme in self._values(holder, "EssentialProperty", "schemeIdUri"):
                if scheme.startswith("urn:mpeg:dash:urlparam:"):
                    raise UnusableError(f"its addresses need parameters (EssentialProperty {scheme[:40]}), which are not made")

    def _representation(
        self, levels: tuple[Element, Element, Element], bases: tuple[Base, ...], has_end: bool, locked: bool, dynamic: bool
    ) -> Representation:
        _, adaptation, element = levels
        name, looks = element.get("id", ""), self._looks(adaptation, element)
        if len(name) > LONGEST_ID:
            raise UnreadableError("Representation@id")
        self._check_essential(adaptation, element)
        bases = self.addressing.bases(bases, element)
        known: dict[str, str | int] = {"RepresentationID": name, "Bandwidth": looks.bandwidth}
        addressing = self.addressing.read(levels, bases, known, dynamic)
        if not (dynamic or has_end) and any(run.count is None for run in addressing.runs):
            raise UnusableError("it is complete, and does not say how long it is")
        return Representation(name, looks, addressing, locked or self._is_locked(element))

    def _looks(self, adaptation: Element, element: Element) -> Variant:
        def number(name: str) -> int:
            holder = element if element.get(name) is not None else adaptation
            value = self._optional(holder, name, whole_of) or 0
            return value if value < 10**12 else 0

        return Variant(
            "", number("bandwidth"), number("width"), number("height"),
            _inherited("codecs", element, adaptation)[:LONGEST_ID], _inherited("frameRate", element, adaptation)[:LONGEST_ID],
        )  # fmt: skip

    def _has_pictures(self, adaptation: Element, element: Element) -> bool:
        """Whether it is moving pictures, as far as the manifest says."""
        kind, components = adaptation.get("contentType"), self._values(adaptation, "ContentComponent", "contentType")
        mime = _inherited("mimeType", element, adaptation).lower()
        for name in ("EssentialProperty", "SupplementalProperty"):
            if any(self._values(holder, name, "schemeIdUri") & _LEFT_OUT for holder in (adaptation, element)):
                return False
        if kind == "video" or "video" in components or mime.startswith("video/"):
            return True
        if kind or any(components) or mime.startswith(("audio/", "text/", "image/")):
            return False
        codecs = _inherited("codecs", element, adaptation)
        height = element.get("height") or adaptation.get("height") or "0"
        is_text = codecs.lower().startswith(("stpp", "wvtt", "tx3g"))
        return not is_text and Variant("", height=1 if height != "0" else 0, codecs=codecs).has_video


def _inherited(name: str, *elements: Element) -> str:
    """An attribute of the first element that has it."""
    return next((value for element in elements if (value := element.get(name)) is not None), "")
