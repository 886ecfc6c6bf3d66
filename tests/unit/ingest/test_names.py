"""The names of live sources, and lists of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.errors import SettingsError
from streams.ingest.names import SourceList, sources_of


def test_a_source_is_named_or_called_after_its_address() -> None:
    assert sources_of(
        [
            "news=https://o.example/a.m3u8?x=1",
            "https://o.example/studio-7/live.m3u8?token=a=b",
            "https://o.example/cam/live.mpd",
            "http://o.example/",
        ]
    ) == {
        "news": "https://o.example/a.m3u8?x=1",
        "studio-7/live": "https://o.example/studio-7/live.m3u8?token=a=b",
        "cam/live": "https://o.example/cam/live.mpd",
        "o.example": "http://o.example/",
    }


@pytest.mark.parametrize(
    "url",
    [
        "https://proxy.example/hls.m3u8?src=https://origin.example/live.m3u8",
        "HTTPS://proxy.example/hls.m3u8?token=a&src=https://origin.example/live.m3u8",
    ],
)
def test_an_address_in_the_query_of_another_is_not_taken_for_the_source(url: str) -> None:
    assert sources_of([url]) == {"hls": url}
    assert sources_of(["news=" + url]) == {"news": url}


def test_a_list_has_one_source_a_line() -> None:
    lines = ["# the sports", "", " sport-1=http://o.example/1.m3u8 ", "http://o.example/2.m3u8"]
    assert sources_of([], lines) == {"sport-1": "http://o.example/1.m3u8", "2": "http://o.example/2.m3u8"}


def test_two_sources_of_one_name_are_an_error_that_names_the_place() -> None:
    with pytest.raises(SettingsError, match=r"--list, line 2: two sources are named news"):
        sources_of(["news=http://a.example/1"], ["", "news=http://a.example/2"])
    with pytest.raises(SettingsError, match="two sources are named live"):
        sources_of(["http://a.example/live.m3u8", "http://b.example/live.m3u8"])


@pytest.mark.parametrize(
    "text",
    [
        "news",
        "ftp://a/b",
        "=http://a/b",
        "ftp://a/b?u=http://c/d",
        "a\x1b[2J=http://a/b",
        "n" * 161 + "=http://a/b",
        "",
        "file:///x",
        ".=http://a/b",
        "..=http://a/b",
        "http://a/..",
    ],
)
def test_what_is_no_source_is_an_error(text: str) -> None:
    with pytest.raises(SettingsError) as caught:
        sources_of([text])
    assert "\x1b" not in str(caught.value)


def test_no_message_has_the_query() -> None:
    with pytest.raises(SettingsError) as caught:
        sources_of(["rtmp://o.example/x?key=s3cret"])
    assert "s3cret" not in str(caught.value)


def test_a_list_is_read_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "sources.txt"
    path.write_text("http://o.example/1\n")
    listed = SourceList(path)
    assert (listed.lines(), listed.lines()) == (["http://o.example/1"], None)
    path.write_text("http://o.example/2\n")
    assert listed.lines() == ["http://o.example/2"]


@pytest.mark.parametrize("first", ["# the sports\r\n", ""])
def test_a_list_may_be_marked_as_utf_8_at_its_beginning(tmp_path: Path, first: str) -> None:
    path = tmp_path / "sources.txt"
    path.write_bytes(f"\ufeff{first}news=http://o.example/ü.m3u8\r\n".encode())
    assert sources_of([], SourceList(path).lines() or []) == {"news": "http://o.example/ü.m3u8"}
