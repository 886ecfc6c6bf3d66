from __future__ import annotations

import json
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from scorer.remote.wire import (
    MAX_HEADER_BYTES,
    OtherSpecError,
    WireError,
    clip_bytes,
    largest_body,
    pack,
    spec_of,
    unpack,
)
from scorer.spec import MODEL_INPUTS, ModelInput, SamplerSpec
from tests.fuzz import wire as fuzz_wire_module
from tests.fuzz.wire import answer_to, fuzz_wire
from tests.support.doubles import SPEC, make_clip

STATISTICS = 20
Header = dict[str, Any]


def body_of(count: int = 3) -> bytes:
    return pack([make_clip(seed=number) for number in range(count)], SPEC)


def parts_of(body: bytes) -> tuple[Header, bytes]:
    length = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + length]), body[8 + length :]


def join(header: Header | bytes, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def read(body: bytes) -> list[ModelInput]:
    return unpack(body, SPEC, STATISTICS, 8)


specs = st.builds(
    SamplerSpec,
    **{name: st.integers(1, 3) for name in ("frames", "grid", "portrait_frames", "face_frames", "clip_frames")},
    **{name: st.integers(8, 12) for name in ("frame_size", "portrait_size", "face_size", "clip_size")},
)


@settings(max_examples=60)
@given(specs, st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**32))
def test_clips_come_back_as_they_were(spec: SamplerSpec, count: int, statistics: int, seed: int) -> None:
    clips = [make_clip(seed=seed + number, spec=spec, statistics=statistics) for number in range(count)]
    clips[0].faces_mask[0] = False
    body = pack(clips, spec)
    assert len(body) <= largest_body(spec, statistics, count)
    back = unpack(memoryview(body), spec, statistics, count)
    assert len(back) == count
    for clip, other in zip(clips, back, strict=True):
        for name in MODEL_INPUTS:
            array = getattr(other, name)
            assert array.dtype == getattr(clip, name).dtype
            np.testing.assert_array_equal(array, getattr(clip, name))


def test_safetensors_reads_what_pack_writes() -> None:
    clips = [make_clip(seed=number) for number in range(3)]
    tensors = load(pack(clips, SPEC))
    assert set(tensors) == set(MODEL_INPUTS)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, np.stack([getattr(clip, name) for clip in clips]))


def test_what_safetensors_writes_is_read() -> None:
    clips = [make_clip(seed=number) for number in range(3)]
    tensors = {name: np.stack([getattr(clip, name) for clip in clips]) for name in MODEL_INPUTS}
    body = save(tensors, {"version": "1", "spec": json.dumps(asdict(SPEC)), "count": "3"})
    for clip, other in zip(clips, read(body), strict=True):
        for name in MODEL_INPUTS:
            np.testing.assert_array_equal(getattr(other, name), getattr(clip, name))


def test_arrays_are_views_into_the_body() -> None:
    body = pack([make_clip()] * 8, replace(SPEC))
    tracemalloc.start()
    clips = unpack(body, SPEC, STATISTICS, 8)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not clips[0].frames.flags.owndata
    assert not clips[0].frames.flags.writeable
    assert peak < len(body) / 4


def test_the_statistics_are_aligned() -> None:
    assert all(clip.statistics.ctypes.data % 4 == 0 for clip in read(body_of()))


def test_a_slice_of_an_array_is_packed() -> None:
    clip = make_clip()
    wide = np.zeros((SPEC.frames, 16, 32, 3), np.uint8)
    assert len(pack([replace(clip, frames=wide[:, :, ::2])], SPEC)) == len(pack([clip], SPEC))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"frames": np.zeros((4, 8, 8, 3), np.uint8)}, r"frames: it is uint8 \[4, 8, 8, 3\], not uint8 \[4, 16, 16, 3\]"),
        ({"faces_mask": np.ones(2, np.uint8)}, r"faces_mask: it is uint8"),
        ({"statistics": np.zeros(20)}, "statistics: it is float64"),
        ({"statistics": np.zeros(19, np.float32)}, r"statistics: it is float32 \[19\], not float32 \[20\]"),
    ],
)
def test_a_clip_of_another_shape_or_type_is_not_packed(change: dict[str, Any], words: str) -> None:
    with pytest.raises(WireError, match=words):
        pack([make_clip(), replace(make_clip(), **change)], SPEC)


def test_no_clips_are_not_packed() -> None:
    with pytest.raises(WireError, match="no clips"):
        pack([], SPEC)


def test_another_specification_is_said_with_what_differs() -> None:
    other = replace(SPEC, frames=6, clip_size=9)
    with pytest.raises(OtherSpecError, match="another specification: frames is 6, not 4, clip_size is 9, not 8") as raised:
        read(pack([make_clip(spec=other)], other))
    assert raised.value.spec == other


def change_entry(name: str, key: str, value: object) -> Callable[[Header], None]:
    def change(header: Header) -> None:
        header[name][key] = value

    return change


def change_metadata(key: str, value: object) -> Callable[[Header], None]:
    return change_entry("__metadata__", key, value)


def swap(header: Header) -> None:
    """Give two tensors of one size the same place."""
    header["faces_mask"]["data_offsets"] = header["portrait_mask"]["data_offsets"]


def with_spec(**values: object) -> str:
    return json.dumps(asdict(SPEC) | values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: header.pop("__metadata__"), "__metadata__ must have just these names: count, spec, version"),
        (lambda header: header["__metadata__"].update(more="x"), "__metadata__ must have"),
        (change_metadata("version", "2"), "the version is '2', and this server takes 1"),
        (change_metadata("version", 1), "version is not a text"),
        (change_metadata("count", "0"), "the count is '0'"),
        (change_metadata("count", "٣"), "not a whole number"),
        (change_metadata("count", "9"), "9 clips, more than 8"),
        (change_metadata("count", "2"), r"its shape is \[3"),
        (change_metadata("spec", "{"), "specification is not JSON"),
        (change_metadata("spec", "[" * 30000), "specification is not JSON"),
        (change_metadata("spec", '{"frames": 1, "frames": 2}'), "specification has a name twice"),
        (change_metadata("spec", '{"frames": NaN}'), "NaN, which is no JSON"),
        (change_metadata("spec", "[]"), "must have just these names: frames"),
        (change_metadata("spec", '{"frames": 4}'), "must have just these names: frames"),
        (change_metadata("spec", with_spec(frames=10**9)), "frames is 1000000000, not a whole number within 1-128"),
        (change_metadata("spec", with_spec(frames=4.0)), "frames is 4.0, not a whole number"),
        (change_metadata("spec", with_spec(frames=[4])), r"frames is \[4\], not a whole number"),
        (lambda header: header.pop("frames"), "frames: this tensor is missing"),
        (lambda header: header.update(extra=header["clip"]), "'extra': there is no such tensor"),
        (lambda header: header.update({"\ud800" * 900: {}}), r"'\\ud800.*\.\.\.: there is no such tensor"),
        (lambda header: header.update(frames=[]), "frames: its entry must have just"),
        (change_entry("frames", "more", 1), "frames: its entry must have just"),
        (change_entry("frames", "dtype", "F64"), "frames: its dtype is 'F64', not U8"),
        (change_entry("frames", "dtype", ["U8"]), "frames: its dtype is"),
        (change_entry("frames", "shape", [3, 4, 16, 16, 2**60]), "frames: its shape is"),
        (change_entry("frames", "shape", [3.0, 4, 16, 16, 3]), "frames: its shape is"),
        (change_entry("frames", "shape", "x"), "frames: its shape is 'x'"),
        (change_entry("frames", "data_offsets", [0, 2**62]), "frames: its data_offsets are"),
        (change_entry("frames", "data_offsets", [-9216, 0]), "frames: its data_offsets are"),
        (change_entry("frames", "data_offsets", [0]), "frames: its data_offsets are"),
        (change_entry("frames", "data_offsets", [0, 9216, 1]), "frames: its data_offsets are"),
        (change_entry("clip", "data_offsets", [10**6, 10**6 + 3 * 16 * 64 * 3]), "clip: it begins at 1000000"),
        (swap, "it begins at"),
    ],
)
def test_what_is_wrong_with_a_header_is_said(change: Callable[[Header], None], words: str) -> None:
    header, data = parts_of(body_of())
    change(header)
    with pytest.raises(WireError, match=words):
        read(join(header, data))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "0 bytes"),
        (b"1234567", "7 bytes"),
        (b"\xff" * 8, "the header has 18446744073709551615 bytes, more than 65536"),
        ((1000).to_bytes(8, "little") + b"{}", "the header has 1000 bytes, and the body has 2"),
        (join(b"[" * 60000, b""), "the header is not JSON"),
        (join(b"\xff\xfe", b""), "the header is not JSON"),
        (join(b"1" * 5000, b""), "the header is not JSON"),
        (join(b"", b""), "the header is not JSON"),
        (join(b"[]", b""), "not a JSON object"),
        (join(b"{}", b""), "__metadata__ must have"),
        (join(b'{"a": 1, "a": 2}', b""), "the header has a name twice"),
        (join(b'{"a": Infinity}', b""), "Infinity, which is no JSON"),
        (body_of() + b"\0", "the tensors have"),
        (body_of()[:-1], "the tensors have"),
    ],
)
def test_what_is_wrong_with_a_body_is_said(body: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        read(body)


@pytest.mark.parametrize(("value", "name"), [(2, "portrait_mask"), (255, "faces_mask")])
def test_a_mask_is_0_or_1(value: int, name: str) -> None:
    header, data = parts_of(body_of())
    changed = bytearray(data)
    changed[header[name]["data_offsets"][1] - 1] = value
    with pytest.raises(WireError, match=f"{name}: a value is neither 0 nor 1"):
        read(join(header, bytes(changed)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_statistics_are_finite(value: float) -> None:
    clip = make_clip()
    clip.statistics[-1] = value
    with pytest.raises(WireError, match="statistics: a value is not a finite number"):
        read(pack([make_clip(), clip], SPEC))


def test_another_number_of_statistics_is_refused() -> None:
    with pytest.raises(WireError, match=r"statistics: its shape is \[1, 19\], not \[1, 20\]"):
        read(pack([make_clip(statistics=19)], SPEC))


@settings(max_examples=300)
@given(st.integers(0, 2**64))
def test_a_changed_body_is_read_or_refused_with_a_reason(seed: int) -> None:
    chance = random.Random(seed)
    body = bytearray(body_of(2))
    reach = chance.choice([8, 1100, len(body)])
    for _ in range(chance.randrange(1, 4)):
        body[chance.randrange(reach)] = chance.randrange(256)
    outcome, wrong = answer_to(bytes(body))
    assert outcome in ("read", "refused", "another specification")
    assert wrong is None


@pytest.mark.parametrize("shape", [[2**31, 2**31, 16, 16, 3], [10**300, 4, 16, 16, 3], [0, 4, 16, 16, 3]])
def test_nothing_is_allocated_for_what_a_header_claims(shape: list[int]) -> None:
    header, data = parts_of(body_of())
    header["frames"] |= {"shape": shape, "data_offsets": [0, 2**62]}
    body = join(header, data)
    tracemalloc.start()
    with pytest.raises(WireError):
        read(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 500_000


def test_the_largest_body_has_the_longest_header() -> None:
    header, data = parts_of(body_of(8))
    text = json.dumps(header).encode()
    body = join(text + b" " * (MAX_HEADER_BYTES - len(text)), data)
    assert len(read(body)) == 8
    assert len(body) == largest_body(SPEC, STATISTICS, 8)
    assert clip_bytes(SPEC, STATISTICS) * 8 == len(data)


def test_a_specification_from_json() -> None:
    assert spec_of(asdict(SPEC)) == SPEC
    with pytest.raises(WireError, match="grid is 40, more than frame_size"):
        spec_of(asdict(SPEC) | {"grid": 40})
    with pytest.raises(WireError, match="must have just these names"):
        spec_of(None)
    with pytest.raises(WireError, match="the sampler's specification"):
        spec_of(asdict(SPEC) | {"grid": json.loads("[" * 900 + "]" * 900)})


def test_the_fuzzer_finds_nothing() -> None:
    report = fuzz_wire(600, seed=2)
    assert report.findings == []
    assert report.outcomes.total() == 600
    assert {"read", "another specification"} < set(report.outcomes)


def test_the_fuzzer_notices_another_exception_and_other_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(body: bytes, *_: object) -> list[ModelInput]:
        if body[0] % 2:
            raise KeyError("frames")
        return [make_clip(statistics=3)]

    monkeypatch.setattr(fuzz_wire_module, "unpack", broken)
    report = fuzz_wire(20, seed=2)
    assert len(report.findings) == 20
    words = " ".join(finding.words for finding in report.findings)
    assert "KeyError: 'frames'" in words
    assert "statistics is float32 (3,)" in words
