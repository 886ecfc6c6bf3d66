"""Which entries of a master playlist are followed, and what they are called: pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from streams.ingest.hls.values import MasterPlaylist, PlaylistError, Variant
from streams.text import printable


def choose(master: MasterPlaylist, wanted: str) -> dict[str, tuple[str, ...]]:
    """The renditions to follow: name to addresses, more than one where servers stand in for each other.

    wanted: `highest`, `all`, or a rendition's name. Raises `PlaylistError` where there is none.
    """
    variants = named(_once([variant for variant in master.variants if variant.has_video]))
    if not variants:
        raise PlaylistError("the master playlist names no rendition with pictures")
    if wanted == "all":
        return {name: _addresses(alike) for name, alike in variants.items()}
    highest = max(variants, key=lambda name: (variants[name][0].height, variants[name][0].bandwidth))
    name = highest if wanted == "highest" else wanted
    if name not in variants:
        raise PlaylistError(f"there is no rendition {printable(wanted)}: there are {', '.join(variants)}")
    return {name: _addresses(variants[name])}


def named(variants: list[Variant]) -> Mapping[str, list[Variant]]:
    """The entries by name, the same name for entries that are equal but for their address."""
    groups: dict[tuple[int, int, int, str, str], list[Variant]] = {}
    for variant in variants:
        looks = (variant.height, variant.width, variant.bandwidth, variant.codecs, variant.frame_rate)
        groups.setdefault(looks, []).append(variant)
    heights = Counter(looks[0] for looks in groups)
    named: dict[str, list[Variant]] = {}
    for (height, _, bandwidth, _, _), group in groups.items():
        name = f"{height}p" if height else str(bandwidth) if bandwidth else "video"
        if height and heights[height] > 1:
            name = f"{name}-{bandwidth}"
        number = 2
        unique = name
        while unique in named:
            unique, number = f"{name}-{number}", number + 1
        named[unique] = group
    return named


def _once(variants: list[Variant]) -> list[Variant]:
    """One entry for each address: a playlist of pictures may stand there once for each sound that it can be played with.

    The one with the lowest bandwidth, so that what a rendition is called is not a matter of their order.
    """
    kept: dict[str, Variant] = {}
    for variant in variants:
        if variant.uri not in kept or variant.bandwidth < kept[variant.uri].bandwidth:
            kept[variant.uri] = variant
    return list(kept.values())


def _addresses(variants: list[Variant]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(variant.uri for variant in variants))
