"""The body of a request to a served scorer: clips as one safetensors file. Numpy only; the client and the server use it.

    8 bytes    length of the header, little-endian
    header     JSON, padded with spaces to a multiple of 8 bytes: for each tensor its dtype, shape and place, and `__metadata__`
    tensors    the arrays of `ModelInput`, each stacked over the clips, without gaps

The answers are JSON; an error is a problem document (`application/problem+json`) with `status`, `title` and `detail`:

    200 of POST /v1/score    {"model": {"name", "version"}, "scores": [{"score", "level", "level_probs", "uncertainty"}, ...]}
    200 of GET /v1/model     {"name", "version", "spec": {...}, "statistics": N, "limits": {"clips": N, "body_bytes": N}}
    409                      with "spec", the right specification: the clips were sampled by another one
    422                      with "clips", the places in the body of the clips that the model cannot score, although it works
    503                      with the header Retry-After, in seconds

A body comes from anyone, so `unpack` holds its header against what the model takes before it looks at a tensor, and gives views
into the body: it allocates nothing whose size the body names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from scorer.errors import FvqError
from scorer.spec import FIRST_NAMES, MODEL_INPUTS, ModelInput, SamplerSpec

MEDIA_TYPE = "application/vnd.fvq.clips+safetensors"
WIRE_VERSION = 1
MAX_HEADER_BYTES = 64 << 10
"""Longest header that is parsed. One of `pack` has some 900 bytes."""

METADATA = "__metadata__"
_METADATA_NAMES = {"version", "spec", "count"}
_COUNT = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_SHOWN = 60
"""Longest piece of a body that an error repeats, characters."""


class WireError(FvqError):
    """What is wrong with a body, in a sentence."""


class OtherSpecError(WireError):
    """The clips were sampled by another specification than the model takes. spec: the body's."""

    def __init__(self, spec: SamplerSpec, expected: SamplerSpec) -> None:
        theirs, ours = asdict(spec), asdict(expected)
        differences = [f"{name} is {theirs[name]}, not {ours[name]}" for name in ours if theirs[name] != ours[name]]
        super().__init__("the clips were sampled by another specification: " + ", ".join(differences))
        self.spec = spec


@dataclass(frozen=True)
class _Layout:
    """One tensor as the header describes it. shape: of one clip in `_layouts`, of all clips in a header."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def array_type(self) -> np.dtype[Any]:
        return _DTYPES[self.dtype]

    def nbytes(self, clips: int = 1) -> int:
        return clips * prod(self.shape) * self.array_type.itemsize


_DTYPES = {"U8": np.dtype("u1"), "BOOL": np.dtype("?"), "F32": np.dtype("<f4")}
"""safetensors' names of the types that clips have."""


def pack(clips: Sequence[ModelInput], spec: SamplerSpec) -> bytes:
    """The clips as one body.

    spec: the specification by which they were sampled. Raises `WireError` where there are no clips, or an array has not the type
    and the shape that the specification says.
    """
    if not clips:
        raise WireError("there are no clips to send")
    layouts = _layouts(spec, len(clips[0].statistics))
    tensors: dict[str, Any] = {}
    parts: list[Any] = []
    end = 0
    for name, layout in layouts.items():
        arrays = [_checked(getattr(clip, name), name, layout) for clip in clips]
        start, end = end, end + layout.nbytes(len(clips))
        tensors[name] = {"dtype": layout.dtype, "shape": [len(clips), *layout.shape], "data_offsets": [start, end]}
        parts += arrays
    metadata = {"version": str(WIRE_VERSION), "spec": json.dumps(spec.values()), "count": str(len(clips))}
    header = json.dumps({METADATA: metadata, **tensors}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join([len(header).to_bytes(8, "little"), header, *parts])


def unpack(body: bytes | memoryview, spec: SamplerSpec, statistics: int, most_clips: int) -> list[ModelInput]:
    """The clips in a body, as views into it.

    spec, statistics: the sampler's specification and the number of statistics that the model takes. most_clips: the most that a
    body may have. Raises `OtherSpecError` where the clips were sampled by another specification, and `WireError` where anything
    else of the body is not as `pack` makes it.
    """
    view = memoryview(body).cast("B")
    header, start = _read_header(view)
    count = _check_metadata(header.pop(METADATA, None), spec, most_clips)
    layouts = _layouts(spec, statistics)
    _check_names(header, layouts)
    places = {name: _check_tensor(name, header[name], layout, count) for name, layout in layouts.items()}
    _check_places(places, len(view) - start)
    data = view[start:]
    arrays = {name: _read(data, places[name], layout, count) for name, layout in layouts.items()}
    for name in ("portrait_mask", "faces_mask"):
        if arrays[name].view(np.uint8).max() > 1:
            raise WireError(f"{name}: a value is neither 0 nor 1")
    if not np.isfinite(arrays["statistics"]).all():
        raise WireError("statistics: a value is not a finite number")
    return [ModelInput(**{name: array[clip] for name, array in arrays.items()}) for clip in range(count)]


def clip_bytes(spec: SamplerSpec, statistics: int) -> int:
    """Bytes of one clip's arrays. statistics: how many numbers they are."""
    return sum(layout.nbytes() for layout in _layouts(spec, statistics).values())


def largest_body(spec: SamplerSpec, statistics: int, most_clips: int) -> int:
    """Bytes of the largest body that `unpack` takes."""
    return 8 + MAX_HEADER_BYTES + most_clips * clip_bytes(spec, statistics)


def spec_of(values: object) -> SamplerSpec:
    """A sampler's specification from parsed JSON. Raises `WireError` where it is none."""
    names = SamplerSpec.__dataclass_fields__
    if not isinstance(values, Mapping) or not FIRST_NAMES <= set(values) <= set(names):
        named = ", ".join(name for name in names if name in FIRST_NAMES)
        raise WireError(f"the sampler's specification must have just these names: {named}")
    try:
        return SamplerSpec.from_values(values)
    except (ValueError, TypeError, RecursionError) as error:
        raise WireError(f"the sampler's specification: {_cut(str(error))}") from error


def _layouts(spec: SamplerSpec, statistics: int) -> dict[str, _Layout]:
    """One clip's tensors by name. The statistics are first, because 4-byte numbers must begin at a multiple of 4."""
    layouts = {
        "statistics": _Layout("F32", (statistics,)),
        "frames": _Layout("U8", (spec.frames, spec.frame_size, spec.frame_size, 3)),
        "portrait": _Layout("U8", (spec.portrait_frames, spec.portrait_size, spec.portrait_size, 3)),
        "portrait_mask": _Layout("BOOL", (spec.portrait_frames,)),
        "faces": _Layout("U8", (spec.face_frames, spec.face_size, spec.face_size, 3)),
        "faces_mask": _Layout("BOOL", (spec.face_frames,)),
        "clip": _Layout("U8", (spec.clip_frames, spec.clip_size, spec.clip_size, 3)),
    }
    assert set(layouts) == set(MODEL_INPUTS)
    return layouts


def _checked(array: NDArray[Any], name: str, layout: _Layout) -> NDArray[Any]:
    """The array, contiguous. Raises `WireError` where it is of another type or shape."""
    if array.shape != layout.shape or array.dtype != layout.array_type:
        raise WireError(f"{name}: it is {array.dtype} {list(array.shape)}, not {layout.array_type} {list(layout.shape)}")
    return np.ascontiguousarray(array)


def _read_header(view: memoryview) -> tuple[dict[str, Any], int]:
    """The parsed header, and where the tensors begin."""
    if len(view) < 8:
        raise WireError(f"the body has {len(view)} bytes, and the length of the header alone takes 8")
    length = int.from_bytes(view[:8], "little")
    if length > MAX_HEADER_BYTES:
        raise WireError(f"the header has {length} bytes, more than {MAX_HEADER_BYTES}")
    if length > len(view) - 8:
        raise WireError(f"the header has {length} bytes, and the body has {len(view) - 8} after its length")
    header = _parse(bytes(view[8 : 8 + length]), "the header")
    if not isinstance(header, dict):
        raise WireError("the header is not a JSON object")
    return header, 8 + length


def _parse(text: bytes | str, what: str) -> Any:
    """Parsed JSON. Its text is at most `MAX_HEADER_BYTES` long, and Python's parser bounds its depth.

    Raises `WireError` where it is no JSON, or a name is there twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) != len(pairs):
            raise WireError(f"{what} has a name twice")
        return names

    def no_number(word: str) -> NoReturn:
        raise WireError(f"{what} has {word}, which is no JSON")

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=no_number)
    except (ValueError, RecursionError) as error:
        raise WireError(f"{what} is not JSON: {_cut(str(error))}") from error


def _check_metadata(metadata: object, spec: SamplerSpec, most_clips: int) -> int:
    """The number of clips. Raises `WireError` where the metadata are not those of a body for this specification."""
    if not isinstance(metadata, dict) or set(metadata) != _METADATA_NAMES:
        raise WireError(f"{METADATA} must have just these names: {', '.join(sorted(_METADATA_NAMES))}")
    for name, value in metadata.items():
        if not isinstance(value, str):
            raise WireError(f"{METADATA}: {name} is not a text")
    if metadata["version"] != str(WIRE_VERSION):
        raise WireError(f"{METADATA}: the version is {_shown(metadata['version'])}, and this server takes {WIRE_VERSION}")
    body_spec = spec_of(_parse(metadata["spec"], "the sampler's specification"))
    if body_spec != spec:
        raise OtherSpecError(body_spec, spec)
    if not _COUNT.fullmatch(metadata["count"]):
        raise WireError(f"{METADATA}: the count is {_shown(metadata['count'])}, not a whole number from 1")
    count = int(metadata["count"])
    if count > most_clips:
        raise WireError(f"the body has {count} clips, more than {most_clips}")
    return count


def _check_names(header: dict[str, Any], layouts: Mapping[str, _Layout]) -> None:
    for name in layouts:
        if name not in header:
            raise WireError(f"{name}: this tensor is missing")
    for name in header:
        if name not in layouts:
            raise WireError(f"{_shown(name)}: there is no such tensor")


def _check_tensor(name: str, entry: object, layout: _Layout, count: int) -> tuple[int, int]:
    """Where a tensor begins and ends among the tensors. Raises `WireError` where its entry is not that of the layout."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise WireError(f"{name}: its entry must have just dtype, shape and data_offsets")
    if entry["dtype"] != layout.dtype:
        raise WireError(f"{name}: its dtype is {_shown(entry['dtype'])}, not {layout.dtype}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_numbers(shape) or shape != [count, *layout.shape]:
        raise WireError(f"{name}: its shape is {_shown(shape)}, not {[count, *layout.shape]}")
    if not _are_numbers(offsets) or len(offsets) != 2 or offsets[0] < 0 or offsets[1] - offsets[0] != layout.nbytes(count):
        raise WireError(f"{name}: its data_offsets are {_shown(offsets)}, and it has {layout.nbytes(count)} bytes")
    return offsets[0], offsets[1]


def _check_places(places: Mapping[str, tuple[int, int]], length: int) -> None:
    """Raise `WireError` where the tensors do not fill the bytes after the header, without gaps."""
    end = 0
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        if place[0] != end:
            raise WireError(f"{name}: it begins at {place[0]}, and the tensor before it ends at {end}")
        end = place[1]
    if end != length:
        raise WireError(f"the tensors have {end} bytes, and the body has {length} after its header")


def _read(data: memoryview, place: tuple[int, int], layout: _Layout, count: int) -> NDArray[Any]:
    """A tensor as a view into the body, of all clips."""
    return np.frombuffer(data[place[0] : place[1]], layout.array_type).reshape(count, *layout.shape)


def _are_numbers(values: object) -> bool:
    """Whether it is a list of whole numbers. JSON's `true` and `1.0` equal 1 in Python, and are none."""
    return isinstance(values, list) and all(type(value) is int for value in values)


def _shown(value: object) -> str:
    """A value of a body, as an error shows it."""
    return _cut(ascii(value))


def _cut(text: str) -> str:
    text = text.encode("ascii", "backslashreplace").decode()
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
