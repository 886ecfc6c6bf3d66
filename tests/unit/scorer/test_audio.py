"""What is said of a segment's sound: against ffmpeg's own measure, against what was encoded, and for media that are broken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import MediaError
from scorer.sampling.audio import decode, measure, spots, track
from scorer.sampling.audio.facts import NO_AUDIO, AudioFacts, rounded
from scorer.sampling.audio.loudness import QUIETEST, loudness_of, weights_of
from scorer.sampling.audio.meter import Measured, Meter
from scorer.sampling.glance import glance, headers_only
from scorer.sampling.sampler import sample
from streams.events import AudioSummary
from tests.support.doubles import SPEC
from tests.support.media import ffmpeg, make_clip
from tests.support.sound import PICTURE, VIDEO, loudness_by_ffmpeg, make_sound, tone

PINK = "anoisesrc=color=pink:amplitude=0.4:seed=7"
SPEECH_LIKE = f"{PINK},volume='if(lt(mod(t,1),0.6),1,0.02)':eval=frame"


def heard(path: Path, window: float | None = None) -> list[AudioFacts]:
    facts = [clip.audio for _, clip in sample(path, SPEC, window)]
    assert all(fact is not None for fact in facts)
    return [fact for fact in facts if fact is not None]


def measured(samples: np.ndarray, rate: int = 48_000, piece: int = 1000) -> Measured:
    meter = Meter(rate, len(samples), weights_of(["FL", "FR"][: len(samples)]))
    for begin in range(0, samples.shape[1], piece):
        meter.add(samples[:, begin : begin + piece])
    return meter.finish()


@pytest.mark.parametrize(
    ("name", "source", "codec", "channels", "rate"),
    [
        ("stereo.ts", PINK, "aac", 2, 48_000),
        ("speech.mp4", SPEECH_LIKE, "aac", 1, 44_100),
        ("tone.mkv", tone(-12), "libopus", 2, 48_000),
        ("mono.ts", tone(-30, 44_100), "libmp3lame", 1, 44_100),
        ("surround.mkv", PINK, "flac", 6, 96_000),
        ("low.avi", tone(-20, 16_000), "pcm_s16le", 2, 16_000),
    ],
)
def test_loudness_is_what_ffmpeg_measures(tmp_path: Path, name: str, source: str, codec: str, channels: int, rate: int) -> None:
    path = make_sound(tmp_path / name, source, codec, seconds=3, channels=channels, rate=rate)
    (facts,) = heard(path)
    assert (facts.present, facts.sample_rate, facts.channels) == (True, rate, channels)
    assert facts.codec == {"libopus": "opus", "libmp3lame": "mp3"}.get(codec, codec)
    assert facts.loudness == pytest.approx(loudness_by_ffmpeg(path), abs=0.15)
    assert (facts.silent, facts.clipped) == (pytest.approx(0.0, abs=0.02) if source != SPEECH_LIKE else facts.silent, 0.0)


def test_a_sine_at_full_scale_in_one_channel_has_the_loudness_of_the_recommendation() -> None:
    wave = np.sin(2 * np.pi * 997 * np.arange(3 * 48_000) / 48_000).astype(np.float32)
    found = measured(wave[None])
    assert loudness_of(found.energies) == pytest.approx(-3.01, abs=0.01)
    assert found.peak == pytest.approx(1.0, abs=1e-4)
    both = measured(np.stack([wave, wave]))
    assert loudness_of(both.energies) == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("frequency", [45, 85, 3000, 9000])
def test_a_sine_of_any_frequency_has_the_loudness_that_ffmpeg_measures(tmp_path: Path, frequency: int) -> None:
    source = f"sine=frequency={frequency}:sample_rate=48000,volume=6dB"
    path = make_sound(tmp_path / "sine.mkv", source, "flac", seconds=3)
    (facts,) = heard(path)
    assert facts.loudness == pytest.approx(loudness_by_ffmpeg(path), abs=0.15)


def test_quiet_stretches_do_not_pull_the_loudness_down() -> None:
    wave = 0.1 * np.sin(2 * np.pi * 997 * np.arange(4 * 48_000) / 48_000).astype(np.float32)
    half = wave.copy()
    half[96_000:] *= 1e-3
    whole, gated = (loudness_of(measured(samples[None]).energies) for samples in (wave, half))
    assert whole is not None
    assert gated == pytest.approx(whole, abs=0.7)
    assert loudness_of(measured(np.zeros((1, 48_000), np.float32)).energies) == QUIETEST
    assert loudness_of(measured(np.zeros((1, 9_600), np.float32)).energies) is None, "shorter than a gating block"


@given(count=st.integers(1, 60_000), piece=st.integers(100, 9000), rate=st.sampled_from([8_000, 11_025, 44_100, 48_000]))
@settings(deadline=None, max_examples=15)
def test_pieces_of_any_length_are_measured_alike(count: int, piece: int, rate: int) -> None:
    samples = np.random.default_rng(count).normal(scale=0.5, size=(2, count)).clip(-1, 1).astype(np.float32)
    apart, whole = measured(samples, rate, piece), measured(samples, rate, count)
    assert len(apart.powers) == len(whole.powers) == round(count / (rate / 10))
    np.testing.assert_allclose(apart.powers, whole.powers, rtol=1e-4)
    np.testing.assert_allclose(apart.energies, whole.energies, rtol=2e-2)
    assert apart.samples == whole.samples == 2 * count
    assert apart.peak == whole.peak == np.abs(samples).max()
    assert abs(apart.clipped - whole.clipped) <= 4 * (1 + count // piece)


def test_runs_at_full_scale_are_clipped_and_single_peaks_are_not() -> None:
    samples = np.zeros((1, 48_000), np.float32)
    samples[0, 100:103] = 1.0
    samples[0, 200:210] = -1.0
    samples[0, 300:302] = 1.0
    assert measured(samples).clipped == 13


def test_no_number_comes_of_samples_that_are_none() -> None:
    samples = np.full((1, 9_600), np.nan, np.float32)
    samples[0, ::2] = np.inf
    samples[0, 1::4] = 3e38
    found = measured(samples)
    assert math.isfinite(found.peak)
    assert np.isfinite(found.energies).all()
    assert np.isfinite(found.powers).all()


@pytest.mark.parametrize(
    ("name", "codec", "least"), [("clip.ts", "aac", 0.005), ("clip.mkv", "libopus", 0.2), ("clip.avi", "pcm_s16le", 0.8)]
)
def test_an_overdriven_sound_is_clipped(tmp_path: Path, name: str, codec: str, least: float) -> None:
    """A codec with losses bends the flat tops, so that fewer samples are at full scale, and some are over it."""
    (loud,) = heard(make_sound(tmp_path / name, f"{tone(12)},aformat=sample_fmts=s16", codec))
    assert loud.clipped is not None
    assert loud.clipped > least
    assert loud.peak is not None
    assert loud.peak > -0.01
    (usual,) = heard(make_sound(tmp_path / f"usual-{name}", tone(-3), codec))
    assert usual.clipped == 0.0
    assert usual.peak == pytest.approx(-3.0, abs=2.0)


@pytest.mark.parametrize(("dbfs", "silent"), [(-50, 0.0), (-75, 1.0), (-200, 1.0)])
def test_a_sound_under_the_limit_is_silent(tmp_path: Path, dbfs: float, silent: float) -> None:
    (facts,) = heard(make_sound(tmp_path / "clip.mkv", tone(dbfs), "flac"))
    assert facts.silent == pytest.approx(silent, abs=0.01)
    assert facts.present
    if dbfs == -200:
        assert (facts.loudness, facts.peak) == (QUIETEST, -120.0)


def test_one_channel_that_is_heard_is_enough(tmp_path: Path) -> None:
    (facts,) = heard(make_sound(tmp_path / "left.ts", f"{tone(-20)},pan=stereo|c0=c0|c1=0*c0"))
    assert facts.silent == 0.0


def test_each_window_of_a_file_has_its_own_sound(tmp_path: Path) -> None:
    gaps = f"{tone(-20)},volume='if(between(t,2,4),0,1)':eval=frame"
    for name in ("clip.mp4", "clip.ts", "clip.mkv"):
        facts = heard(make_sound(tmp_path / name, gaps, seconds=6), window=2.0)
        assert [round(fact.silent or 0.0, 1) for fact in facts] == [0.0, 1.0, 0.0], name
        assert [fact.offset_ms is None for fact in facts] == [False, True, True]
        assert facts[0].loudness == pytest.approx(facts[2].loudness, abs=0.5)


def test_time_without_sound_is_silent(tmp_path: Path) -> None:
    ends = tmp_path / "ends.ts"
    sound = ("-f", "lavfi", "-t", "1", "-i", tone(-20))
    ffmpeg("-t", "2", *PICTURE, *sound, *VIDEO, "-c:a", "aac", ends)
    (facts,) = heard(ends)
    assert facts.silent == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("name", ["late.ts", "late.mp4", "late.mkv"])
def test_a_sound_that_begins_later_than_the_picture_is_told_by_its_stamps(tmp_path: Path, name: str) -> None:
    late = tmp_path / name
    sound = ("-itsoffset", "0.4", "-f", "lavfi", "-t", "2", "-i", tone(-20))
    ffmpeg("-t", "2", *PICTURE, *sound, *VIDEO, "-c:a", "aac", late)
    (facts,) = heard(late)
    # In MPEG-TS and Matroska the encoder's first packet, which players cut off, is not marked.
    assert facts.offset_ms == pytest.approx(400, abs=25)
    seen = glance(late).audio
    assert seen is not None
    assert seen.offset_ms == pytest.approx(facts.offset_ms, abs=1)


def test_an_edit_list_takes_the_encoders_first_samples_off(tmp_path: Path) -> None:
    (facts,) = heard(make_sound(tmp_path / "clip.mp4", tone(-20)))
    assert facts.offset_ms == pytest.approx(0.0, abs=0.1)


def test_a_file_without_sound_says_so(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "mute.mp4", 64, 48, 1)
    assert heard(path) == [NO_AUDIO]
    assert glance(path).audio == headers_only(path).audio == NO_AUDIO


def test_a_codec_that_is_not_decoded_is_named_and_nothing_more(tmp_path: Path) -> None:
    (facts,) = heard(make_sound(tmp_path / "old.mkv", tone(-20), "wmav2"))
    assert (facts.present, facts.codec) == (True, "wmav2")
    assert (facts.loudness, facts.peak, facts.silent, facts.clipped) == (None, None, None, None)


@pytest.mark.parametrize(("module", "limit"), [(track, "MOST_PACKETS"), (track, "MOST_BYTES"), (decode, "MOST_SAMPLES")])
def test_too_much_sound_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, limit: str) -> None:
    path = make_sound(tmp_path / "clip.ts", PINK)
    monkeypatch.setattr(module, limit, 3)
    (facts,) = heard(path)
    assert (facts.present, facts.codec, facts.loudness, facts.silent) == (True, "aac", None, None)


def quick(path: Path) -> AudioFacts:
    """What a glance hears, with a picture or without."""
    seen = headers_only(path).audio
    assert seen is not None
    assert glance(path).audio == seen
    return seen


def as_a_glance_tells(facts: AudioFacts) -> dict[str, Any]:
    return rounded(facts) | {"loudness": None, "peak": None, "clipped": None}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The packets that were given to a decoder."""
    packets: list[Any] = []
    frames_of = decode._frames_of

    def counted(context: Any, packet: Any) -> list[Any]:
        if packet is not None:
            packets.append(packet)
        return frames_of(context, packet)

    monkeypatch.setattr(decode, "_frames_of", counted)
    return packets


SPOT_CODECS = [
    ("a.ts", "aac"),
    ("b.mp4", "aac"),
    ("c.mkv", "libopus"),
    ("d.ts", "libmp3lame"),
    ("e.ts", "ac3"),
    ("f.ts", "eac3"),
    ("g.ts", "mp2"),
]


@pytest.mark.parametrize(("name", "codec"), [*SPOT_CODECS, ("h.mkv", "flac"), ("i.avi", "pcm_s16le"), ("j.mkv", "libvorbis")])
@pytest.mark.parametrize("source", [PINK, SPEECH_LIKE, tone(-200)], ids=["noise", "speech", "silence"])
def test_a_glance_hears_the_same_but_for_loudness_and_peaks(tmp_path: Path, name: str, codec: str, source: str) -> None:
    path = make_sound(tmp_path / name, source, codec)
    (full,) = heard(path)
    told, whole = rounded(quick(path)), as_a_glance_tells(full)
    # Of speech, spots tell about what is true; a full look at Matroska begins with its second packet.
    assert told.pop("silent") == pytest.approx(whole.pop("silent"), abs=0.25 if source == SPEECH_LIKE else 0.0)
    assert told.pop("offset_ms") == pytest.approx(whole.pop("offset_ms"), abs=25 if path.suffix == ".mkv" else 0.0)
    assert told == whole


@pytest.mark.parametrize(("name", "codec"), SPOT_CODECS)
def test_a_glance_decodes_little_of_a_sound_that_is_heard(tmp_path: Path, decoded: list[Any], name: str, codec: str) -> None:
    path = make_sound(tmp_path / name, PINK, codec, seconds=4)
    headers_only(path)
    few = len(decoded)
    decoded.clear()
    heard(path)
    assert 0 < few <= 0.25 * len(decoded)


@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.15), (0.9, 1.1), (1.7, 2.0), (0.2, 1.0), (3.0, 3.0)])
def test_a_sound_that_seems_silent_is_decoded_whole(tmp_path: Path, begin: float, end: float) -> None:
    """At most two of its four spots are heard, so its glance says exactly what a full look says."""
    path = make_sound(tmp_path / "clip.ts", f"{tone(-20)},volume='if(between(t,{begin},{end}),1,0)':eval=frame", "mp2")
    (full,) = heard(path)
    assert full.silent is not None
    assert full.silent >= 0.5
    assert quick(path).silent == full.silent


@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.5), (0.4, 0.9), (1.1, 1.6), (0.7, 0.9)])
def test_of_a_sound_with_a_pause_a_glance_tells_the_share_of_silent_spots(tmp_path: Path, begin: float, end: float) -> None:
    path = make_sound(tmp_path / "clip.ts", f"{tone(-20)},volume='if(between(t,{begin},{end}),0,1)':eval=frame", "mp2")
    (full,) = heard(path)
    assert quick(path).silent == pytest.approx(full.silent, abs=0.25)


def test_a_sound_that_is_hardly_over_the_limit_is_decoded_whole(tmp_path: Path, decoded: list[Any]) -> None:
    """A spot of -55 dBFS is too short to tell that the 100 ms around it are not silent."""
    path = make_sound(tmp_path / "clip.ts", tone(-52), "mp2")
    (full,) = heard(path)
    whole = len(decoded)
    decoded.clear()
    assert headers_only(path).audio is not None
    assert len(decoded) > whole
    assert quick(path).silent == full.silent == 0.0


def test_a_glance_hears_that_the_sound_ends_early(tmp_path: Path) -> None:
    ends = tmp_path / "ends.ts"
    ffmpeg("-t", "4", *PICTURE, "-f", "lavfi", "-t", "2", "-i", tone(-20), *VIDEO, "-c:a", "aac", ends)
    assert quick(ends).silent == pytest.approx(0.5, abs=0.06)


def test_spots_that_cannot_be_decoded_are_no_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_sound(tmp_path / "clip.ts", PINK)
    (full,) = heard(path)
    monkeypatch.setattr(spots, "frames", lambda packets: iter(()))
    assert rounded(quick(path)) == as_a_glance_tells(full)


def test_the_picture_is_sampled_as_if_there_was_no_sound(tmp_path: Path) -> None:
    for name in ("clip.ts", "clip.mp4", "clip.mkv"):
        path = make_sound(tmp_path / name, PINK, seconds=4)
        mute = tmp_path / f"mute-{name}"
        ffmpeg("-i", path, "-an", "-c:v", "copy", mute)
        for with_sound, without in zip(sample(path, SPEC, 2.0), sample(mute, SPEC, 2.0), strict=True):
            np.testing.assert_array_equal(with_sound[1].statistics, without[1].statistics)
            np.testing.assert_array_equal(with_sound[1].frames, without[1].frames)
            assert with_sound[1].info == without[1].info


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sound")
    kinds = [
        ("a.ts", "aac"),
        ("b.mp4", "aac"),
        ("c.mkv", "flac"),
        ("d.mkv", "libopus"),
        ("e.ts", "libmp3lame"),
        ("f.avi", "pcm_f32le"),
    ]
    return [make_sound(folder / name, PINK, codec, seconds=0.6) for name, codec in kinds]


@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_no_damage_to_the_sound_fails_a_segment(
    data: st.DataObject, clips: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Damage is put where the sound's packets are: what happens to the pictures is no part of this."""
    clip = data.draw(st.sampled_from(clips))
    places = _places_of_sound(clip)
    content = bytearray(clip.read_bytes())
    for place, size in data.draw(st.lists(st.sampled_from(places), min_size=1, max_size=12)):
        at = place + data.draw(st.integers(0, max(0, min(size, 150) - 1)))
        content[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
    path = tmp_path_factory.mktemp("damaged") / clip.name
    path.write_bytes(content)
    (facts,) = heard(path)
    AudioSummary(**rounded(facts))
    AudioSummary(**rounded(quick(path)))


def _places_of_sound(path: Path) -> list[tuple[int, int]]:
    """Where each audio packet of a file begins, and its size. A packet may begin with the container's headers around it."""
    before = 40 if path.suffix == ".ts" else 12
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [(packet.pos + before, packet.size - 12) for packet in container.demux(stream) if packet.size > 40 and packet.pos]


def test_a_file_of_sound_alone_is_still_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.m4a"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=1", path)
    with pytest.raises(MediaError, match="only sound"):
        sample(path, SPEC)


@pytest.mark.parametrize(("changes", "is_measured"), [(3, True), (measure.MOST_CHANGES + 2, False)])
def test_sound_that_changes_its_form_is_measured_unless_it_does_so_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: int, is_measured: bool
) -> None:
    def changing(_: object) -> Iterator[Any]:
        for number in range(changes):
            rate = (44_100, 48_000)[number % 2]
            wave = 0.1 * np.sin(2 * np.pi * 997 * np.arange(rate) / rate).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(wave[None], "fltp", "mono")
            frame.sample_rate = rate
            yield frame

    monkeypatch.setattr(measure, "frames", changing)
    (facts,) = heard(make_sound(tmp_path / "clip.ts", PINK))
    assert (facts.loudness is not None) == is_measured
    if is_measured:
        assert (facts.sample_rate, facts.channels, facts.silent) == (44_100, 1, 0.0)
        assert facts.loudness == pytest.approx(-23.0, abs=0.1)
