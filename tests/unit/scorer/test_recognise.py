"""Files that cannot be scored are named: pages, playlists, parts of fragmented MP4, encrypted segments; media never are."""

from __future__ import annotations

import gzip
import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import MediaError
from scorer.sampling.probing import probe
from scorer.sampling.recognise import not_media, reason_unreadable, refuse_unplayable
from tests.support.media import ODD_FILES, ffmpeg, make_clip, make_odd_file

FRAGMENTED = ("-pix_fmt", "yuv420p", "-movflags", "+frag_keyframe+empty_moov+default_base_moof")
KEY = ("-encryption_key", "76a6c65c5ea762046bd749a2e632ccbb", "-encryption_kid", "a7e61c373e219033c21091fa607bf3b8")
CENC = ("-encryption_scheme", "cenc-aes-ctr", *KEY)


def clip(path: Path, *options: str) -> bytes:
    return make_clip(path, 160, 120, 0.4, options=options or ("-pix_fmt", "yuv420p")).read_bytes()


def refused(path: Path, data: bytes) -> MediaError:
    path.write_bytes(data)
    with pytest.raises(MediaError) as refusal:
        probe(path)
    assert len(refusal.value.reason) < 200
    return refusal.value


def parts(path: Path) -> tuple[bytes, bytes]:
    """The init segment of a fragmented MP4, and its media."""
    whole = clip(path, *FRAGMENTED)
    place = whole.index(b"moof") - 4
    return whole[:place], whole[place:]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<!DOCTYPE html><html><body>Sign in</body></html>", "web page"),
        ("\ufeff\n <!-- gateway --><HTML lang=en>", "web page"),
        ("<head><title>502 Bad Gateway</title></head>", "web page"),
        ('<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
        ("<Error><Code>NoSuchKey</Code></Error>", "XML"),
        ('{"error": "expired"}', "JSON"),
        (' [\n {"id": 1}]', "JSON"),
        ("{}", "JSON"),
        ("#EXTM3U\n#EXT-X-VERSION:3\nsegment.ts", "playlist"),
        ('<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">', "playlist"),
        ("<dash:MPD>", "playlist"),
        ("<SmoothStreamingMedia MajorVersion='2'>", "playlist"),
    ],
)
def test_a_text_instead_of_media_is_named(text: str, words: str, tmp_path: Path) -> None:
    for data in (text.encode(), text.encode() + b"\n" + b"x" * 5000, text.encode("utf-16")):
        error = refused(tmp_path / "1.ts", data)
        assert words in error.reason
        assert error.kind == "refused"


def test_sound_behind_a_tag_and_subtitles_of_hls_are_named(tmp_path: Path) -> None:
    tag = b"ID3\x04\0\0\0\0\0\x3f" + bytes(63)
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", tmp_path / "a.aac")
    assert "sound (MP3 or AAC)" in refused(tmp_path / "b.aac", tag + (tmp_path / "a.aac").read_bytes()).reason
    assert "subtitles (WebVTT)" in refused(tmp_path / "a.vtt", b"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:900000,LOCAL:00:00:00\n").reason


def test_a_compressed_file_or_a_picture_is_named(tmp_path: Path) -> None:
    assert "gzip" in refused(tmp_path / "a.ts", gzip.compress(clip(tmp_path / "b.ts"))).reason
    ffmpeg("-f", "lavfi", "-i", "testsrc2=size=64x64", "-frames:v", "1", tmp_path / "a.jpg")
    assert "JPEG" in refused(tmp_path / "b.mp4", (tmp_path / "a.jpg").read_bytes()).reason


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.png", "picture \\(PNG"),
        ("a.mp3", "sound \\(MP3"),
        ("a.flac", "sound"),
        ("a.wav", "sound"),
        ("a.aac", "sound \\(AAC"),
        ("a.ac3", "sound \\(AC-3"),
        ("a.eac3", "sound \\(AC-3"),
    ],
)
def test_pictures_and_sound_are_named_whatever_their_name_says(tmp_path: Path, name: str, words: str) -> None:
    kind = ("testsrc2=size=64x64", "-frames:v", "1") if name == "a.png" else ("sine=duration=0.2",)
    ffmpeg("-f", "lavfi", "-i", *kind, tmp_path / name)
    (tmp_path / name).rename(tmp_path / "clip.mp4")
    with pytest.raises(MediaError, match=words) as caught:
        probe(tmp_path / "clip.mp4")
    assert caught.value.kind == "refused"


def test_a_missing_init_segment_is_named(tmp_path: Path) -> None:
    init, media = parts(tmp_path / "a.mp4")
    styp = b"\0\0\0\x18stypmsdh\0\0\0\0msdhmsix"
    for part in (media, styp + media, styp + media[: len(media) // 2]):
        error = refused(tmp_path / "part.m4s", part)
        assert (error.kind, "init segment is missing" in error.reason, "init_uri" in error.reason) == ("refused", True, True)
    webm = clip(tmp_path / "a.webm", "-c:v", "libvpx", "-pix_fmt", "yuv420p")
    assert "init segment is missing" in refused(tmp_path / "b.webm", webm[webm.index(b"\x1f\x43\xb6\x75") :]).reason
    (tmp_path / "whole.mp4").write_bytes(init + media)
    assert probe(tmp_path / "whole.mp4").width == 160


def test_an_init_segment_alone_is_named(tmp_path: Path) -> None:
    init, _ = parts(tmp_path / "a.mp4")
    error = refused(tmp_path / "init.mp4", init)
    assert (error.kind, "only the init segment" in error.reason) == ("refused", True)


@pytest.mark.parametrize("options", [CENC, (*CENC, "-movflags", "+faststart"), (*CENC, *FRAGMENTED)])
def test_an_encrypted_mp4_is_named(options: tuple[str, ...], tmp_path: Path) -> None:
    error = refused(tmp_path / "a.mp4", clip(tmp_path / "encrypted.mp4", "-pix_fmt", "yuv420p", *options))
    assert (error.kind, "encrypted" in error.reason) == ("refused", True)


def test_the_clear_beginning_of_an_encrypted_stream_is_read(tmp_path: Path) -> None:
    """Its init segment is the encrypted stream's; its samples are clear, which their fragment says by saying nothing."""
    encrypted = clip(tmp_path / "encrypted.mp4", "-pix_fmt", "yuv420p", *CENC, *FRAGMENTED)
    _, media = parts(tmp_path / "clear.mp4")
    (tmp_path / "lead.mp4").write_bytes(encrypted[: encrypted.index(b"moof") - 4] + media)
    assert probe(tmp_path / "lead.mp4").width == 160


def test_an_encrypted_transport_stream_is_named(tmp_path: Path) -> None:
    clear = clip(tmp_path / "a.ts", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    scrambled, sample_aes = bytearray(clear), bytearray(clear)
    for place in range(0, len(clear), 188):
        pid = int.from_bytes(clear[place + 1 : place + 3]) & 0x1FFF
        if pid == 0x100:
            scrambled[place + 3] |= 0x80
        if pid == 0x1000:
            sample_aes[clear.index(b"\x1b\xe1\x00", place)] = 0xDB
    for data, words in ((scrambled, "scrambled"), (scrambled[70:], "scrambled"), (sample_aes, "SAMPLE-AES")):
        error = refused(tmp_path / "b.ts", bytes(data))
        assert (error.kind, "encrypted" in error.reason, words in error.reason) == ("refused", True, True)


def element(name: str, *content: bytes) -> bytes:
    """An element of EBML."""
    data = b"".join(content)
    return bytes.fromhex(name) + (0x10000000 | len(data)).to_bytes(4) + data


def test_an_encrypted_webm_is_named() -> None:
    """ffmpeg cannot write one."""
    encodings = element("6d80", element("6240", element("5033", b"\x01"), element("5035", element("47e1", b"\x05"))))
    video, sound = element("83", b"\x01"), element("83", b"\x02")
    for tracks, encrypted in (
        (element("ae", video, encodings), True),
        (element("ae", video, encodings) + element("ae", sound), True),
        (element("ae", video) + element("ae", sound, encodings), False),
        (element("ae", video, element("6d80", element("6240", element("5034", b"")))), False),  # compressed headers
    ):
        file = io.BytesIO(element("1a45dfa3") + bytes.fromhex("1853806701ffffffffffffff") + element("1654ae6b", tracks))
        if encrypted:
            with pytest.raises(MediaError, match="encrypted"):
                refuse_unplayable(file)
        else:
            refuse_unplayable(file)


def test_random_bytes_may_be_an_encrypted_segment(tmp_path: Path) -> None:
    data = random.Random(1).randbytes(100_000)
    assert "encrypted" in refused(tmp_path / "a.ts", data).reason
    assert "encrypted" not in refused(tmp_path / "a.ts", data[:-1]).reason, "AES-128 of HLS fills blocks of 16 bytes"


@pytest.mark.parametrize("name", sorted(set(ODD_FILES) - {"empty.mp4", "text.mp4", "noise.mp4"}))
def test_media_are_left_to_the_decoder(name: str, tmp_path: Path) -> None:
    with make_odd_file(tmp_path, name).open("rb") as file:
        assert not_media(file.read(1024)) is None
        refuse_unplayable(file)


@given(
    st.binary(max_size=600),
    st.sampled_from(
        [
            b"",
            b"\0\0\0\x08moov",
            b"\0\0\0\0moof",
            b"\0\0\0\x01moov\xff\xff\xff\xff\xff\xff\xff\xff",
            b"G" * 400,
            b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff",
        ]
    ),
)
def test_any_bytes_are_looked_at_without_an_error(data: bytes, start: bytes) -> None:
    file = io.BytesIO(start + data)
    try:
        refuse_unplayable(file)
    except MediaError as error:
        assert error.kind == "refused"  # noqa: PT017
    reason_unreadable(file)


def test_a_movie_of_nested_boxes_is_looked_at_in_linear_time() -> None:
    """Boxes that claim more than their parent has would be read again at each level."""
    box = b"".join(b"\x00\xff\xff\xff" + kind for kind in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd"))
    data = b"\0\0\0\x08free" + box * 20_000
    reads = 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal reads
            reads += 1
            return super().read(size)

    refuse_unplayable(Counting(data))
    assert reads < 5000
