"""Which Representations are followed from Period to Period, and what they are called: pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from streams.ingest.dash.values import Period, Presentation, Representation
from streams.ingest.dash.window import Track
from streams.ingest.hls.renditions import named
from streams.ingest.hls.values import PlaylistError, Variant
from streams.text import printable

MOST_RENDITIONS = 100
"""Of one source, with `all`."""


def tracks(presentation: Presentation, wanted: str, followed: Collection[str], passed: int | None) -> dict[str, Track]:
    """The renditions to follow, by name.

    wanted: `highest`, `all`, or a rendition's name. followed: those that are followed already: `highest` stays with its choice
    while a Period has it. passed: microseconds of the presentation that have passed, None where it is complete. In a Period that
    does not have a rendition, the one that is nearest in height, then in bandwidth, stands in for it. Raises `PlaylistError`
    where there is none.
    """
    periods = [(period, _named(period)) for period in presentation.periods if period.representations]
    looks: dict[str, Variant] = {}
    for _, here in periods:
        looks |= {name: representation.looks for name, representation in here.items()}
    if wanted == "all":
        names = list(looks)
        if len(names) > MOST_RENDITIONS:
            raise PlaylistError(f"the manifest has more than {MOST_RENDITIONS} renditions")
    elif wanted == "highest":
        begun = [here for period, here in periods if passed is None or period.start <= passed]
        present = begun[-1] if begun else periods[0][1]
        highest = max(present, key=lambda name: (present[name].looks.height, present[name].looks.bandwidth))
        names = [name for name in followed if name in looks][:1] or [highest]
    elif wanted in looks:
        names = [wanted]
    else:
        raise PlaylistError(f"there is no rendition {printable(wanted)}: there are {', '.join(looks)}")
    return {name: [(period, here.get(name) or _nearest(here, looks[name])) for period, here in periods] for name in names}


def _named(period: Period) -> Mapping[str, Representation]:
    """A Period's Representations by name; of those that look alike, the first."""
    representations = period.representations
    variants = [replace(representation.looks, uri=str(index)) for index, representation in enumerate(representations)]
    return {name: representations[int(alike[0].uri)] for name, alike in named(variants).items()}


def _nearest(here: Mapping[str, Representation], looks: Variant) -> Representation:
    def distance(representation: Representation) -> tuple[int, int]:
        other = representation.looks
        return abs(other.height - looks.height), abs(other.bandwidth - looks.bandwidth)

    return min(here.values(), key=distance)
