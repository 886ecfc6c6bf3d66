"""Addresses of `fvq ingest push`: what is taken, what is refused in which words, and that no secret is shown."""

from __future__ import annotations

import pytest

from streams.errors import SettingsError
from streams.ingest.push.address import PushAddress, parse_address, push_sources_of, script_of
from streams.ingest.push.rtmp import Place

KEY, PASSPHRASE = "s3cret-key", "a-long-passphrase"


@pytest.mark.parametrize(
    ("text", "listens", "shown"),
    [
        (f"rtmp://0.0.0.0:1935/live/{KEY}", True, "rtmp://0.0.0.0:1935/live"),
        (f"rtmp://[::]/live/{KEY}", True, "rtmp://[::]:1935/live"),
        (f"rtmp://127.0.0.1:1936/live/{KEY}?mode=listener", True, "rtmp://127.0.0.1:1936/live"),
        (f"rtmp://cdn.example/live/{KEY}?token=abc", False, "rtmp://cdn.example:1935/live"),
        (f"rtmps://cdn.example/live/{KEY}", False, "rtmps://cdn.example:443/live"),
        (f"srt://0.0.0.0:9000?passphrase={PASSPHRASE}", True, "srt://0.0.0.0:9000"),
        (f"srt://:9000?mode=listener&passphrase={PASSPHRASE}", True, "srt://0.0.0.0:9000"),
        ("srt://127.0.0.1:9000?mode=listener", True, "srt://127.0.0.1:9000"),
        (f"srt://studio.example:9000?streamid={KEY}&passphrase={PASSPHRASE}", False, "srt://studio.example:9000"),
    ],
)
def test_an_address_says_who_connects_and_shows_no_secret(text: str, listens: bool, shown: str) -> None:
    address = parse_address(text)
    assert (address.listens, address.shown) == (listens, shown)
    for secret in (KEY, PASSPHRASE, "token"):
        assert secret not in repr(address) + address.shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://cdn.example/live/key", "begins with none of"),
        ("rtmp://0.0.0.0/live/short", "at least 8 characters"),
        ("rtmp://0.0.0.0/live", "stream key is missing"),
        ("rtmp://cdn.example/", "stream key is missing"),
        (f"rtmps://0.0.0.0/live/{KEY}", "put a proxy in front"),
        (f"rtmp://0.0.0.0/live/{KEY}?token=1", "no query but its mode"),
        (f"rtmp://user:{KEY}@cdn.example/live/{KEY}", "user, a password"),
        (f"rtmp://cdn.example:99999/live/{KEY}", "host or port cannot be read"),
        (f"rtmp://cdn.example/live/{KEY}'", "must be written as %XX"),
        (f"rtmp://cdn.example/live/{KEY}\noption x y", "must be written as %XX"),
        (f"rtmp://cdn.example/live/{KEY}?mode=both", "listener and caller"),
        ("srt://0.0.0.0:9000", "needs &passphrase"),
        ("srt://0.0.0.0:9000?passphrase=short", "10 to 79 characters"),
        (f"srt://cdn.example?passphrase={PASSPHRASE}", "port is missing"),
        (f"srt://cdn.example:9000?rcvbuf=99999999999&passphrase={PASSPHRASE}", "its options are mode, passphrase and streamid"),
        ("srt://cdn.example:9000?streamid=a%27%0Aoption", "spaces, quotes"),
        (f"srt://127.0.0.1:9000?mode=listener&streamid={KEY}", "does not look at the streamid"),
    ],
)
def test_an_address_that_cannot_be_used_says_why_without_its_secret(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        parse_address(text)
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([f"rtmp://0.0.0.0/live/{KEY}"], "a source is NAME=ADDRESS"),
        ([f"=rtmp://0.0.0.0/live/{KEY}"], "a source is NAME=ADDRESS"),
        ([f"a\x1b=rtmp://0.0.0.0/live/{KEY}"], "cannot be a stream's name"),
        ([f".=rtmp://0.0.0.0/live/{KEY}"], "cannot be a stream's name"),
        ([f"a=rtmp://0.0.0.0/live/{KEY}", f"a=rtmp://0.0.0.0/live/{KEY}2"], "two sources are named a"),
        ([f"a=rtmp://0.0.0.0/live/{KEY}", f"b=rtmp://0.0.0.0/live/{KEY}"], "a and b have the same stream key on port 1935"),
        ([f"a=rtmp://0.0.0.0/live/{KEY}", f"b=rtmp://127.0.0.1/x/{KEY}?mode=listener"], "name the same host"),
        (
            [f"a=srt://0.0.0.0:9000?passphrase={PASSPHRASE}", f"b=srt://127.0.0.1:9000?mode=listener&passphrase={PASSPHRASE}2"],
            "a and b listen on SRT port 9000: each SRT listener needs a port of its own",
        ),
    ],
)
def test_sources_that_cannot_stand_beside_each_other_are_refused_in_words(arguments: list[str], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as raised:
        push_sources_of(arguments)
    assert KEY not in str(raised.value)
    assert PASSPHRASE not in str(raised.value)


def test_sources_come_from_arguments_and_a_list() -> None:
    lines = ["# studios", "", f"west/two = rtmp://0.0.0.0/live/{KEY}-2".replace(" ", "")]
    sources = push_sources_of([f"one=rtmp://0.0.0.0/live/{KEY}"], lines)
    assert list(sources) == ["one", "west/two"]


def test_ffmpegs_script_has_each_option_as_it_is_meant() -> None:
    address = parse_address(f"srt://studio.example:9000?streamid=%23%21%3A%3Ar%3Done&passphrase={PASSPHRASE}")
    assert script_of(address, 10).decode().splitlines() == [
        "ffconcat version 1.0",
        "file 'srt://studio.example:9000?mode=caller'",
        "option streamid '#!::r=one'",
        f"option passphrase '{PASSPHRASE}'",
        "option timeout '10000000'",
        "option analyzeduration '2000000'",
    ]


def test_secrets_are_known_in_every_form() -> None:
    address = PushAddress("rtmp", False, Place("cdn.example", 1935), "live/a%20key", "token=b%2Bc")
    assert set(address.secrets) == {"a%20key", "a key", "token=b%2Bc", "token=b+c"}
