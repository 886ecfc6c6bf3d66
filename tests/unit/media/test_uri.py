"""Parsing URIs: what is sent is what was written, what is checked is what is connected to, and all else is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.errors import MediaError
from streams.media.shown import without_secrets
from streams.media.uri import parse

SIGNED = "/signed/a%2Fb%20c.ts?Policy=eyJ%2B~_&Signature=qZ0%2FXns%2BPP2g%3D&Expires=1&p=a+b&time=10%3A30"


def sent(text: str) -> str:
    return parse(text).url().raw_path_qs


@pytest.mark.parametrize(
    "target",
    [
        SIGNED, "/a//b/./c/../d.ts", "/a.ts?", "/a?b?c=/d", "/%7Euser/%e4.ts", "/a;b=1,2:3@x/!$&'()*", "/a?x=[1]&y={2}|\"<>^`",
        "/a?%zz=%", "/a?b=\\", "/a+b%2B", "/" + "x" * 8000,
    ],
)  # fmt: skip
def test_path_and_query_are_sent_as_they_are_written(target: str) -> None:
    assert sent(f"https://origin.example{target}") == target
    assert sent(f"https://origin.example{target}#t=10") == target, "a fragment is never sent"
    assert sent(str(parse(f"https://origin.example{target}").redirected(target))) == target


@pytest.mark.parametrize(
    ("target", "requested"),
    [
        ("", "/"),
        ("?a=1", "/?a=1"),
        ("/a b.ts?c d", "/a%20b.ts?c%20d"),
        ("/ä%C3%A4/視.ts?ü=é", "/%C3%A4%C3%A4/%E8%A6%96.ts?%C3%BC=%C3%A9"),
    ],
)
def test_what_may_not_be_sent_is_encoded_as_browsers_do(target: str, requested: str) -> None:
    assert sent(f"http://origin.example{target}") == requested
    assert sent(f"  http://origin.example{target} ") == requested


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="\\# ")))
def test_any_ascii_target_is_sent_as_it_is_written(text: str) -> None:
    assert sent(f"http://origin.example/{text}") == f"/{text}"


@pytest.mark.parametrize(
    ("written", "host", "port"),
    [
        ("Origin.Example", "origin.example", None), ("origin.example.:8443", "origin.example.", 8443),
        ("my_service:80", "my_service", 80), ("münchen.example", "xn--mnchen-3ya.example", None),
        ("MÜNCHEN.example", "xn--mnchen-3ya.example", None), ("ｏｒｉｇｉｎ。example", "origin.example", None),
        ("[2606:4700:0::1111]:81", "2606:4700::1111", 81), ("8.8.8.8", "8.8.8.8", None), ("①②⑦.⓪.⓪.①:80", "127.0.0.1", 80),
        ("１２７。０．０｡１", "127.0.0.1", None), ("2130706433", "127.0.0.1", None), ("0x7f.1", "127.0.0.1", None),
        ("0177.0.0.01", "127.0.0.1", None), ("127.0.0.1.", "127.0.0.1", None), ("0", "0.0.0.0", None),
        ("127.0.0.\u00ad1", "127.0.0.1", None), ("134744072", "8.8.8.8", None), ("[::ffff:7f00:1]", "::ffff:127.0.0.1", None),
        ("\uff4cocalho\u017ft", "localhost", None),
    ],
)  # fmt: skip
def test_a_host_is_normalised_once(written: str, host: str, port: int | None) -> None:
    uri = parse(f"http://{written}/1.ts")
    assert (uri.host, uri.port) == (host, port)
    url = uri.url()
    assert (url.raw_host, url.port) == (host, port or 80), "what is connected to"


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http:", "http://HOST/"), ("http:a.example/1", "http://HOST/"), ("http:/a.example/1", "http://HOST/"),
        ("http:///a", "no host"), ("http://", "no host"), ("http://:80/", "no host"), ("http://?a", "no host"),
        ("http://a.example:/", "port"), ("http://a.example:0/", "port"), ("http://a.example:65536/", "port"),
        ("http://a.example:８０/", "port"), ("http://a.example:+80/", "port"), ("http://a.example:8_0/", "port"),
        ("http://a.example:80:80/", "port"), ("http://::1/", "no host"), ("http://user@a.example/", "password"),
        ("http://a.example@127.0.0.1/", "password"), ("http://a.example:80@b@127.0.0.1/", "password"),
        ("http://user:se cret@a.example/", "password"), ("http://us%3Aer:secret@a.example/", "password"),
        ("http://a.example\\@127.0.0.1/", "backslash"), ("http://a.example/b\\c", "backslash"),
        ("http:\\\\127.0.0.1/", "http://HOST/"), ("http://a.example/\n", "control"), ("http://a\t.example/", "control"),
        ("http://a.example/\x00", "control"), ("http://a\x85b/", "control"), ("http://[::1", "bracket"),
        ("http://[x/", "bracket"), ("http://[::1]x/", "more than a port"), ("http://[::1%lo]/", "zone"),
        ("http://[::1%25lo]/", "zone"), ("http://[v1.a]/", "not an http"), ("http://[１::]/", "not an http"),
        ("http://[]/", "not an http"), ("http://%31%32%37.0.0.1/", "no domain"), ("http://a b/", "no domain"),
        ("http://a..b/", "no domain"), ("http://.a/", "no domain"), ("http://a.example..../", "no domain"),
        ("http://１２７％２e/", "no domain"), ("http://a／b/", "no domain"), ("http://a＠127.0.0.1/", "no domain"),
        ("http://" + "a" * 64 + "/", "no domain"), ("http://" + "ü" * 100 + "/", "no domain"),
        ("http://" + "a." * 200 + "/", "253"), ("http://256.1.1.1/", "IPv4"), ("http://1.2.3.4.5/", "IPv4"),
        ("http://0x/", "IPv4"), ("http://127.0.0.08/", "IPv4"), ("http://a.1/", "IPv4"),
        ("http://a.example/\ud800", "not an http"), ("http://\ud800/", "no domain"), ("http://☃/", "no domain"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_reason(uri: str, words: str) -> None:
    with pytest.raises(MediaError) as refusal:
        parse(uri)
    assert refusal.value.kind == "refused"
    assert words in refusal.value.reason
    assert refusal.value.reason.isprintable()
    assert "secret" not in refusal.value.reason


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("2.ts", "http://a.example:81/live/x%2Fy/2.ts"),
        ("../2.ts?a=%2F", "http://a.example:81/live/2.ts?a=%2F"),
        ("./2.ts", "http://a.example:81/live/x%2Fy/2.ts"),
        ("../../../../2.ts", "http://a.example:81/2.ts"),
        ("..", "http://a.example:81/live/"),
        ("?c", "http://a.example:81/live/x%2Fy/1.ts?c"),
        ("#c", "http://a.example:81/live/x%2Fy/1.ts"),
        (SIGNED, f"http://a.example:81{SIGNED}"),
        (f"//cdn.example{SIGNED}", f"http://cdn.example{SIGNED}"),
        (f"HTTPS://cdn.example{SIGNED} ", f"https://cdn.example{SIGNED}"),
        ("/caf\udce9.ts", "http://a.example:81/caf%E9.ts"),
        ("file:///etc/passwd", "file:///etc/passwd"),
    ],
)
def test_a_redirect_is_followed_as_it_is_written(location: str, target: str) -> None:
    assert str(parse("http://a.example:81/live/x%2Fy/1.ts?b").redirected(location)) == target


@pytest.mark.parametrize("location", ["", " ", "http://[x", "//", "//user@b.example/", "/a\nb", "http:2.ts", "\\\\b.example/"])
def test_a_redirect_must_lead_to_a_uri(location: str) -> None:
    with pytest.raises(MediaError) as refusal:
        parse("http://a.example/1.ts").redirected(location)
    assert refusal.value.kind == "refused"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://user:hunter2@a.example:8443/1.ts?X-Amz-Signature=abc#f", "https://a.example:8443/1.ts"),
        ("http:///kim:s3cret@a.example/1.ts", "the URI"),
        ("ftp:///kim:s3cret@a.example/1.ts", "the URI"),
        ("rtmp:/kim:s3cret@a.example/1", "the URI"),
        ("FILE:///media/a@b.ts?c", "FILE:///media/a@b.ts"),
        ("http://a.example:port/1.ts", "http://a.example:port/1.ts"),
        ("http://user:hun/ter2@a.example/1.ts", "the URI"),
        ("http:user:hunter2@a.example/1.ts", "the URI"),
        ("http://user:hun?ter2@a.example/1.ts", "the URI"),
        ("file:///media/a@b.ts", "file:///media/a@b.ts"),
        ("http://a\nb/\x1b[31m", "http://a\\nb/\\x1b[31m"),
    ],
)
def test_a_uri_is_shown_without_secrets(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown


def test_a_parsed_uri_is_shown_without_its_query() -> None:
    assert parse("https://A.example:8443/@live/1.ts?X-Amz-Signature=abc#f").shown == "https://a.example:8443/@live/1.ts"
    assert parse("s3://key:secret@bucket/a@b.ts?x").shown == "s3://bucket/a@b.ts"
    assert "secret" not in parse("gopher://user:sec/ret@a.example/secret@").shown
    assert len(parse("http://a.example/" + "x" * 9000).shown) == 300


@given(st.text())
@example("http://[x")
@example("http://a.example:" + "9" * 5000)
@example("file://[x/y")
def test_any_text_is_a_uri_or_refused(text: str) -> None:
    for written in (text, f"http:{text}", f"http://{text}", f"https://a.example{text}", f"http://[{text}]/", f"file://{text}"):
        try:
            uri = parse(written)
        except MediaError as error:
            refusal = error
        else:
            if uri.is_http:
                assert uri.url().raw_host == uri.host
                assert parse(str(uri)) == uri, "parsing again changes nothing"
                assert uri.shown.isprintable()
            continue
        assert refusal.kind == "refused"
        assert refusal.reason.isprintable()


def test_user_and_password_are_for_basic_authentication_on_the_same_server_alone() -> None:
    uri = parse("https://us%2Fer:hunter%402@a.example/1.ts")
    assert (uri.user, uri.password, uri.host) == ("us/er", "hunter@2", "a.example")
    assert "hunter" not in repr(uri) + str(uri) + uri.shown + str(uri.url())
    authentication = uri.authentication()
    assert authentication is not None
    assert authentication.password == "hunter@2"
    assert uri.redirected("/2.ts").password == "hunter@2"
    for elsewhere in ("https://b.example/1.ts", "http://a.example/1.ts", "https://a.example:8443/1.ts", "//b.example/"):
        assert uri.redirected(elsewhere).authentication() is None
