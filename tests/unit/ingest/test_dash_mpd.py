"""The reader of DASH manifests: what each element means, what a bad one costs, and what is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ingest.dash import addressing as module
from streams.ingest.dash.elements import MOST_ELEMENTS
from streams.ingest.dash.mpd import parse
from streams.ingest.dash.notation import date_of, duration_of, filled, range_of
from streams.ingest.dash.values import SECOND, Addressing, Presentation, Representation, Run
from streams.ingest.hls.values import InitSegment, PlaylistError
from streams.media.ranges import Range
from streams.media.read import Reader
from tests.support.manifests import ANCHOR, TEMPLATE, URL, manifest, period, timeline, video


def read(*content: str, **more: str) -> Presentation:
    return parse(manifest(*content, **more), URL)


def representations(presentation: Presentation) -> list[Representation]:
    return [representation for period in presentation.periods for representation in period.representations]


def addressing(*content: str) -> Addressing:
    return representations(read(period(*content)))[0].addressing


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("PT2S", 2 * SECOND), ("PT0.5S", 500_000), ("PT1H1M1.25S", 3_661_250_000), ("P1DT1S", 86_401 * SECOND),
        ("P1Y", 365 * 86_400 * SECOND), ("P1M", 30 * 86_400 * SECOND), ("PT1.1234567S", 1_123_456), ("PT0S", 0),
        ("PT1735689600S", 1_735_689_600 * SECOND), (" PT2S ", 2 * SECOND),
    ],
)  # fmt: skip
def test_durations(text: str, micros: int) -> None:
    assert duration_of(text) == micros


@pytest.mark.parametrize("text", ["", "P", "PT", "2", "-PT2S", "PT-2S", "PTS", "P2S", "PT2S x", "PT1e9S", "PT" + "9" * 40 + "S"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        duration_of(text)


def test_dates_and_ranges() -> None:
    assert date_of("2026-01-31T12:00:00Z") == date_of("2026-01-31T13:00:00+01:00") == date_of("2026-01-31T12:00:00") == ANCHOR
    assert date_of("2026-01-31T12:00:00.123456789Z").microsecond == 123456
    assert range_of("100-199") == Range(100, 100)
    for text in ("yesterday", "0001-01-01T00:00:00+23:59", "2300-01-01T00:00:00Z"):
        with pytest.raises((ValueError, OverflowError)):
            date_of(text)
    for text in ("199-100", "-5", "a-b", ""):
        with pytest.raises(ValueError):  # noqa: PT011 - any
            range_of(text)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("$RepresentationID$/$Number%05d$.m4s", "hd$/00042.m4s"), ("$Time$-$Bandwidth$", "9000-100"), ("a$$b-$Number$", "a$b-42"),
        ("$Number%01d$", "42"), ("plain.ts", "plain.ts"),
    ],
)  # fmt: skip
def test_templates(template: str, text: str) -> None:
    assert filled(template, {"RepresentationID": "hd$", "Number": 42, "Time": 9000, "Bandwidth": 100}) == text


@pytest.mark.parametrize("template", ["$SubNumber$", "$number$", "$Number%5d$", "$Number%099d$", "a$b", "$$$"])
def test_templates_that_cannot_be_filled(template: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any
        filled(template, {"Number": 1})


def test_the_manifest_says_how_it_is_followed() -> None:
    timing = '<UTCTiming schemeIdUri="urn:mpeg:dash:utc:http-iso:2014" value="https://time.example/iso"/>'
    presentation = read(
        timing, "<Location>https://edge.example/news.mpd?s=1</Location>", period(),
        attributes='timeShiftBufferDepth="PT30S" maxSegmentDuration="PT2S" publishTime="never"',
    )  # fmt: skip
    assert (presentation.dynamic, presentation.anchor, presentation.update) == (True, ANCHOR, 2.0)
    assert (presentation.depth, presentation.longest) == (30 * SECOND, 2.0)
    assert presentation.locations == ("https://edge.example/news.mpd?s=1",)
    assert [(timing.scheme, timing.value) for timing in presentation.timings] == [("http-iso", "https://time.example/iso")]
    assert parse(manifest(update=None), URL).update is None
    assert parse(manifest(update="PT0S"), URL).update == 0.0
    assert parse(manifest(update="often"), URL).update == 0.0, "one that cannot be read is loaded at each segment"


def test_a_template_with_a_duration() -> None:
    found = addressing(video())
    assert (found.runs, found.media) == ((Run(0, 2000, 1, None),), "$RepresentationID$/$Number$.m4s")
    assert found.init == InitSegment("https://cdn.example/live/init.mp4")


def test_timelines() -> None:
    assert addressing(video(timeline("t=4000 d=2000 r=2", "d=1000", "t=12000 d=2000", number=7))).runs == (
        Run(4000, 2000, 7, 3), Run(10000, 1000, 10, 1), Run(12000, 2000, 11, 1)
    )  # fmt: skip
    assert addressing(video(timeline("t=0 d=2000 r=-1", "t=6000 d=3000 r=-1"))).runs == (
        Run(0, 2000, 1, 3),
        Run(6000, 3000, 4, None),
    )
    assert addressing(video(timeline("d=2000", "t=8000 d=2000 n=9"))).runs == (Run(0, 2000, 1, 1), Run(8000, 2000, 9, 1))


def test_an_s_that_cannot_be_read_or_goes_back_costs_itself() -> None:
    found = read(
        period(video(timeline("t=0 d=2000", "t=2000 d=x", "t=4000 d=2000", "t=1000 d=2000", "t=6000 d=0", "t=6000 d=2000")))
    )
    assert representations(found)[0].addressing.runs == (Run(0, 2000, 1, 1), Run(4000, 2000, 3, 1), Run(6000, 2000, 6, 1))
    assert found.dropped["S"] == 3


def test_what_the_levels_say_is_inherited_and_the_innermost_counts() -> None:
    inner = '<SegmentTemplate duration="4000"/>'
    content = (
        '<SegmentTemplate timescale="1000" startNumber="5" media="$Number$.m4s"/>'
        '<AdaptationSet contentType="video"><SegmentTemplate duration="2000" startNumber="9"/>'
        '<Representation id="a" bandwidth="1" height="360"/>'
        f'<Representation id="b" bandwidth="2" height="720">{inner}</Representation>'
        "</AdaptationSet>"
    )
    low, high = representations(read(period(content)))
    assert (low.addressing.runs, high.addressing.runs) == ((Run(0, 2000, 9, None),), (Run(0, 4000, 9, None),))


def test_addresses_are_relative_to_the_base_urls_of_all_levels() -> None:
    content = (
        "<BaseURL>two/</BaseURL>"
        f'<AdaptationSet contentType="video"><BaseURL>three/</BaseURL>{TEMPLATE}'
        '<Representation id="a" bandwidth="1"/></AdaptationSet>'
    )
    presentation = read("<BaseURL>https://media.example/one/</BaseURL>", period(content))
    assert representations(presentation)[0].addressing.base == "https://media.example/one/two/three/"


def test_of_several_servers_the_first_that_may_be_asked_is_taken() -> None:
    servers = "<BaseURL>file:///etc/</BaseURL><BaseURL>http://10.0.0.1/</BaseURL><BaseURL>https://good.example/</BaseURL>"
    presentation = parse(manifest(servers, period()), URL, Reader().allows)
    assert representations(presentation)[0].addressing.base == "https://good.example/"
    assert presentation.dropped["BaseURL"] == 2


@pytest.mark.parametrize(
    "content",
    [
        ("<BaseURL>file:///etc/</BaseURL>", period()),
        ("<BaseURL>http://169.254.169.254/</BaseURL>", period()),
        (period(video(TEMPLATE.replace('media="', 'media="http://[::1]/'))),),
        (period(video(TEMPLATE.replace("init.mp4", "http://127.0.0.1/init.mp4"))),),
    ],
)
def test_media_at_addresses_that_may_not_be_fetched_are_refused(content: tuple[str, ...]) -> None:
    with pytest.raises(PlaylistError, match="may not be fetched"):
        parse(manifest(*content), URL, Reader().allows)


def test_a_list_with_ranges() -> None:
    found = addressing(
        video(
            '<SegmentList timescale="1" duration="2" startNumber="4"><Initialization sourceURL="a.mp4" range="0-99"/>'
            '<SegmentURL media="a.mp4" mediaRange="100-199"/><SegmentURL media="a.mp4" mediaRange="x"/>'
            '<SegmentURL media="b.mp4"/></SegmentList>'
        )
    )
    assert found.init == InitSegment("https://cdn.example/live/a.mp4", Range(100, 0))
    assert [entry.byte_range for entry in found.listed] == [Range(100, 100), None, None]
    assert [entry.uri.rpartition("/")[2] for entry in found.listed] == ["a.mp4", "", "b.mp4"]
    assert found.runs == (Run(6, 2, 0, 3),)


def test_a_list_with_a_timeline_has_as_many_segments_as_addresses() -> None:
    rows = '<SegmentTimeline><S t="0" d="2" r="9"/></SegmentTimeline><SegmentURL media="a"/><SegmentURL media="b"/>'
    assert addressing(video(f'<SegmentList timescale="1">{rows}</SegmentList>')).runs == (Run(0, 2, 0, 2),)


def test_an_s_of_a_list_that_cannot_be_read_costs_its_own_address_alone() -> None:
    rows = '<SegmentTimeline><S t="0" d="0"/><S t="2" d="2" r="1"/></SegmentTimeline>'
    files = '<SegmentURL media="a"/><SegmentURL media="b"/>'
    assert addressing(video(f'<SegmentList timescale="1">{rows}{files}</SegmentList>')).runs == (Run(2, 2, 1, 1),)


def test_periods_follow_each_other() -> None:
    periods = [
        period(attributes='start="PT0S" duration="PT10S"'),
        period(attributes=""),
        period(attributes='start="PT30S" id="3"'),
    ]
    assert [(found.start, found.end) for found in read(*periods, attributes='mediaPresentationDuration="PT1M"').periods] == [
        (0, 10 * SECOND), (10 * SECOND, 30 * SECOND), (30 * SECOND, 60 * SECOND)
    ]  # fmt: skip
    early = read(period(attributes='start="PT5S"'), period(attributes=""))
    assert [found.start for found in early.periods] == [5 * SECOND]
    assert early.dropped["Period"] == 1


def test_only_pictures_are_taken() -> None:
    sets = [
        video(attributes='contentType="audio" mimeType="audio/mp4"'),
        video(attributes='contentType="text"'),
        video(TEMPLATE, 'id="s" codecs="stpp"', attributes='mimeType="application/mp4"'),
        video(TEMPLATE, 'id="m" codecs="mp4a.40.2"', attributes=""),
        video(attributes='contentType="image" mimeType="image/jpeg"'),
        video('<EssentialProperty schemeIdUri="http://dashif.org/guidelines/trickmode" value="1"/>' + TEMPLATE),
        video(TEMPLATE, 'id="plain" bandwidth="5" height="360"', attributes=""),
        video(TEMPLATE, 'id="good" bandwidth="9" height="720"', attributes='contentType="video"'),
    ]
    assert [found.name for found in representations(read(period(*sets)))] == ["plain", "good"]
    with pytest.raises(PlaylistError, match="no Representation with pictures"):
        read(period(*sets[:6]))


@pytest.mark.parametrize("level", ["adaptation", "representation", "period"])
def test_content_protection_on_any_level_is_encryption(level: str) -> None:
    lock = '<ContentProtection schemeIdUri="urn:mpeg:dash:mp4protection:2011" value="cenc"/>'
    locks = {name: lock if name == level else "" for name in ("adaptation", "representation", "period")}
    content = (
        f'{locks["period"]}<AdaptationSet contentType="video">{locks["adaptation"]}{TEMPLATE}'
        f'<Representation id="a" bandwidth="1">{locks["representation"]}</Representation></AdaptationSet>'
    )
    assert [found.encrypted for found in representations(read(period(content)))] == [True]


@pytest.mark.parametrize(
    ("addressing", "words"),
    [
        ('<SegmentBase indexRange="0-100"/>', "one file"),
        ("", "one file"),
        (TEMPLATE.replace('timescale="1000"', 'timescale="0"'), "timescale"),
        (TEMPLATE.replace('timescale="1000"', 'timescale="-1"'), "timescale"),
        (TEMPLATE.replace('duration="2000"', ""), "duration"),
        (TEMPLATE.replace('duration="2000"', 'duration="1"'), "duration"),
        (TEMPLATE.replace('duration="2000"', 'duration="99999999"'), "duration"),
        (TEMPLATE.replace('duration="2000"', f'duration="{2**64}"'), "duration"),
        (TEMPLATE.replace("$Number$", "$Number$-$SubNumber$"), "in parts"),
        (timeline("t=0 d=2000 k=4"), "in parts"),
        (f'<EssentialProperty schemeIdUri="urn:mpeg:dash:urlparam:2014"/>{TEMPLATE}', "need parameters"),
        (TEMPLATE.replace("$Number$", "$$$"), "media"),
        (TEMPLATE.replace('media="', 'medium="'), "media"),
        ('<SegmentList duration="2"/>', "SegmentList"),
    ],
)
def test_what_cannot_be_announced_says_why_and_costs_nothing_else(addressing: str, words: str) -> None:
    bad = video(addressing, 'id="bad" bandwidth="1" height="1080"')
    with pytest.raises(PlaylistError, match=words):
        read(period(bad))
    presentation = read(period(bad, video()))
    assert [found.name for found in representations(presentation)] == ["v"]
    assert sum(presentation.dropped.values()) == 1


def test_attributes_that_are_not_needed_may_be_wrong() -> None:
    presentation = read(period(video(TEMPLATE, 'id="v" bandwidth="fast" width="-1" height="720"')))
    (found,) = representations(presentation)
    assert (found.looks.bandwidth, found.looks.height) == (0, 720)
    assert presentation.dropped == {"@bandwidth": 1, "@width": 1}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b"<html><body>503</body></html>", "its root is 'html'"),
        (b"#EXTM3U\n", "begins with '#EXTM3U"),
        (b"<MPD><Period>", "no XML"),
        (b"\x00\xff\xfe", "no XML"),
        (b'<!DOCTYPE MPD [<!ENTITY a "b">]><MPD>&a;</MPD>', "must not have"),
        (b'<!DOCTYPE MPD SYSTEM "file:///etc/passwd"><MPD/>', "must not have"),
        (b'<?xml version="1.0" encoding="klingon"?><MPD/>', "no manifest"),
        (b"<MPD>" + b"<a>" * 100 + b"</a>" * 100 + b"</MPD>", "levels deep"),
        (manifest().replace(b"availabilityStartTime", b"startTime"), "no availabilityStartTime"),
        (manifest().replace(b"2026-01-31T", b"31.1.2026 "), "no availabilityStartTime"),
        (manifest(*[period()] * 1001), "more than 1000 Periods"),
        (manifest(period(video(TEMPLATE, *['id="a"'] * 2001))), "more than 2000 Representations"),
        (manifest(kind="static"), "does not say how long"),
        (b"<MPD/>", "no Representation"),
    ],
)
def test_what_is_refused_says_why(body: bytes, words: str) -> None:
    with pytest.raises(PlaylistError, match=words):
        parse(body, URL)


def test_bombs_are_refused_before_they_grow() -> None:
    laughs = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 12))
    with pytest.raises(PlaylistError, match="must not have"):
        parse(f'<!DOCTYPE MPD [<!ENTITY a0 "ha">{laughs}]><MPD>&a11;</MPD>'.encode(), URL)
    many = b"<MPD>" + b"<S/>" * 1_000_000 + b"</MPD>"
    began = time.process_time()
    with pytest.raises(PlaylistError, match=f"more than {MOST_ELEMENTS} elements"):
        parse(many, URL)
    assert time.process_time() - began < 10, "read up to the limit, and no further"


def test_what_thousands_share_is_read_once_and_what_each_repeats_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f'<S t="{2000 * number}" d="2000"/>' for number in range(5_000))
    shared = f'<SegmentTemplate timescale="1000" media="$Time$"><SegmentTimeline>{rows}</SegmentTimeline></SegmentTemplate>'
    entries = "".join('<SegmentURL media="a"/>' for _ in range(5_000))
    listed = f'<SegmentList timescale="1" duration="2">{entries}</SegmentList>'
    filler = "<X/>" * 20_000
    began = time.process_time()
    for addressing in (shared, listed):
        presentation = read(period(video(addressing + filler, *[f'id="{number}" height="9"' for number in range(1000)])))
        assert len(representations(presentation)) == 1000
    assert time.process_time() - began < 20
    alone = '<AdaptationSet mimeType="video/mp4"><Representation id="a"><BaseURL>{}/</BaseURL></Representation></AdaptationSet>'
    sets = [alone.format(number) for number in range(11)]
    monkeypatch.setattr(module, "MOST_ENTRIES", 50_000)
    with pytest.raises(PlaylistError, match="more than 50000 entries"):
        read(period(listed, *sets))


def test_a_timeline_in_parts_that_many_share_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ENTRIES", 5)
    parted = video(timeline("d=2000", "d=2000", "d=2000 k=2"), *[f'id="{number}" height="9"' for number in range(4)])
    assert [found.name for found in representations(read(period(parted, video())))] == ["v"]


def test_a_million_segments_of_one_s_take_no_time_and_no_memory() -> None:
    found = addressing(video(timeline(f"t=0 d=2000 r={10**18}")))
    assert found.runs == (Run(0, 2000, 1, 10**18 + 1),)


def test_other_namespaces_and_links_are_passed_over() -> None:
    other = '<x:Period xmlns:x="urn:other"/><Period xmlns:l="http://www.w3.org/1999/xlink" l:href="https://e.example/p"/>'
    assert len(read(period(), other).periods) == 1
    plain = manifest().replace(b' xmlns="urn:mpeg:dash:schema:mpd:2011"', b"")
    assert len(representations(parse(plain, URL))) == 1


ATTRIBUTES = [
    "t", "d", "r", "n", "timescale", "duration", "startNumber", "endNumber", "presentationTimeOffset", "start", "media",
    "initialization", "type", "minimumUpdatePeriod", "mediaPresentationDuration", "availabilityStartTime",
    "availabilityTimeOffset", "range", "mediaRange", "sourceURL", "id", "bandwidth", "height", "mimeType", "contentType",
    "codecs", "timeShiftBufferDepth",
]  # fmt: skip
WORDS = [
    "0", "1", "2", "1000", "-1", "99999999999999999999999", "nan", "INF", "PT2S", "PT0S", "PT99999999999S", "P9999Y",
    "2026-01-31T12:00:00Z", "0001-01-01T00:00:00+23:59", "dynamic", "video", "video/mp4", "$Number$.m4s", "$Time%020d$",
    "$$", "$", "http://[", "file:///x", "0-9",
]  # fmt: skip
VALUES = st.sampled_from(WORDS) | st.text(max_size=8)
NAMES = [
    "Period", "AdaptationSet", "Representation", "SegmentTemplate", "SegmentList", "SegmentBase", "SegmentTimeline", "S",
    "SegmentURL", "Initialization", "BaseURL", "Location", "UTCTiming", "ContentProtection",
]  # fmt: skip


def quoted(text: str) -> str:
    return "".join(char for char in text if char.isprintable()).replace("&", "").replace("<", "").replace('"', "")


def element(name: str, attributes: dict[str, str], content: list[str]) -> str:
    said = " ".join(f'{key}="{quoted(value)}"' for key, value in attributes.items())
    return f"<{name} {said}>{''.join(content)}</{name}>"


ELEMENTS = st.recursive(
    st.builds(element, st.sampled_from(NAMES), st.dictionaries(st.sampled_from(ATTRIBUTES), VALUES, max_size=6), st.just([])),
    lambda inner: st.builds(
        element,
        st.sampled_from(NAMES),
        st.dictionaries(st.sampled_from(ATTRIBUTES), VALUES, max_size=4),
        st.lists(inner, max_size=4),
    ),
    max_leaves=20,
)


@given(st.lists(ELEMENTS, max_size=4), st.dictionaries(st.sampled_from(ATTRIBUTES), VALUES, max_size=6))
def test_nothing_but_its_own_error_is_raised(content: list[str], attributes: dict[str, str]) -> None:
    try:
        presentation = parse(element("MPD", attributes, content).encode(), URL)
    except PlaylistError:
        return
    assert any(found.representations for found in presentation.periods)


@given(st.binary(max_size=60) | st.integers(0, 600).map(lambda end: manifest()[:end]))
def test_cut_and_broken_bodies_are_its_own_error_too(body: bytes) -> None:
    with pytest.raises(PlaylistError):
        parse(body.removesuffix(b"</MPD>"), URL)


def test_a_date_of_the_anchor_may_have_an_offset() -> None:
    moved = manifest().replace(ANCHOR.isoformat().encode(), b"2026-01-31T13:00:00+01:00")
    assert parse(moved, URL).anchor == datetime(2026, 1, 31, 12, tzinfo=UTC)
