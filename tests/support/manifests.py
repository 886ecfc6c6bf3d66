"""DASH manifests, made up for tests: one that is live, with the parts that a test asks for."""

from __future__ import annotations

from datetime import UTC, datetime

ANCHOR = datetime(2026, 1, 31, 12, tzinfo=UTC)
"""The `availabilityStartTime` of all."""

URL = "https://cdn.example/live/news.mpd"

TEMPLATE = '<SegmentTemplate timescale="1000" duration="2000" media="$RepresentationID$/$Number$.m4s" initialization="init.mp4"/>'


def timeline(*entries: str, offset: int = 0, media: str = "$Time$.m4s", number: int = 1, more: str = "") -> str:
    """A template with a timeline. entries: the attributes of its `S`, as `t=0 d=2000 r=4`; the timescale is 1000."""
    rows = "".join("<S " + " ".join(f'{name}="{value}"' for name, value in _pairs(entry)) + "/>" for entry in entries)
    return (
        f'<SegmentTemplate timescale="1000" presentationTimeOffset="{offset}" startNumber="{number}" media="{media}" '
        f'initialization="init.mp4" {more}><SegmentTimeline>{rows}</SegmentTimeline></SegmentTemplate>'
    )


def _pairs(entry: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in entry.split())]


def video(addressing: str = TEMPLATE, *representations: str, attributes: str = 'mimeType="video/mp4"') -> str:
    """An AdaptationSet of pictures. representations: the attributes of each; one of 720 lines without."""
    rows = representations or ('id="v" bandwidth="2000000" width="1280" height="720"',)
    return f"<AdaptationSet {attributes}>{addressing}{''.join(f'<Representation {row}/>' for row in rows)}</AdaptationSet>"


def period(*content: str, attributes: str = 'start="PT0S"') -> str:
    """A Period."""
    return f"<Period {attributes}>{''.join(content or (video(),))}</Period>"


def manifest(*content: str, attributes: str = "", kind: str = "dynamic", update: str | None = "PT2S") -> bytes:
    """A manifest. content: Periods and what else stands at the top; one Period with a template without. update: how often."""
    live = f'availabilityStartTime="{ANCHOR.isoformat()}"' if kind == "dynamic" else ""
    again = f'minimumUpdatePeriod="{update}"' if update is not None and kind == "dynamic" else ""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="{kind}" {live} {again} '
        f"{attributes}>{''.join(content or (period(),))}</MPD>"
    ).encode()
