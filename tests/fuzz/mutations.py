"""Media files that are made to hurt: seeds of several containers, mutations of their bytes and boxes, and small bombs."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.media import ffmpeg, make_clip, with_empty_tracks
from tests.support.sound import make_sound

X264 = ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "6", "-bf", "2")
SEEDS: dict[str, Sequence[str]] = {
    "plain.mp4": X264,
    "fragmented.mp4": (*X264, "-movflags", "+frag_keyframe+empty_moov+default_base_moof"),
    "hevc.mov": ("-c:v", "libx265", "-x265-params", "log-level=0:pools=1", "-pix_fmt", "yuv420p10le"),
    "h264.ts": X264,
    "interlaced.ts": ("-c:v", "mpeg2video", "-flags", "+ilme+ildct", "-pix_fmt", "yuv420p"),
    "h264.mkv": X264,
    "lossless.mkv": ("-c:v", "ffv1", "-pix_fmt", "yuv444p"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-pix_fmt", "yuv420p"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-bf", "2"),
    "pictures.mov": ("-c:v", "mjpeg", "-pix_fmt", "yuvj420p"),
    "flash.flv": ("-c:v", "flv1", "-pix_fmt", "yuv420p"),
    "palette.gif": (),
    "raw.h264": X264,
}
"""Name of a seed -> ffmpeg's options for it."""

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
CONTAINERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"moof", b"traf", b"mvex", b"udta")
BOX_NAMES = (
    *CONTAINERS,
    *(b"stts stsz stco co64 stsc ctts elst stsd avc1 avcC trun tfhd mdat free uuid meta cmov dref sidx".split()),
)
Box = tuple[int, int]
"""Place and size of an MP4 box in its file, bytes."""


SOUND = "anoisesrc=color=pink:amplitude=0.4:seed=7"
SOUNDS = {"sound.ts": "aac", "sound.mp4": "aac", "sound.mkv": "libopus", "flac.mkv": "flac", "pcm.avi": "pcm_s16le"}
"""Seeds with sound, by the name of its encoder."""


def make_seeds(folder: Path) -> dict[str, bytes]:
    """The seeds' bytes by name: 1 second of 96x64 at 10 pictures per second."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = {name: make_clip(folder / name, 96, 64, 1.0, 10, options=options).read_bytes() for name, options in SEEDS.items()}
    seeds |= {name: make_sound(folder / name, SOUND, codec, seconds=1).read_bytes() for name, codec in SOUNDS.items()}
    bombs = {f"bomb-{bomb.__name__[1:]}{suffix}": bomb(folder, seeds) for bomb, suffix in BOMBS.items()}
    return seeds | bombs


def mutated_file(seeds: dict[str, bytes], chance: random.Random) -> tuple[str, bytes]:
    """The name of a seed and its bytes after up to four mutations; a bomb may stay as it is."""
    name = chance.choice([name for name in seeds if name.startswith("bomb") is (chance.random() < 0.15)] or list(seeds))
    data = bytearray(seeds[name])
    for _ in range(chance.randrange(0 if name.startswith("bomb") else 1, 5)):
        if not data:
            break
        mutations = [*MUTATIONS, *BOX_MUTATIONS * 2] if data[4:8] == b"ftyp" else MUTATIONS
        chance.choice(mutations)(data, chance, seeds)
    return name, bytes(data)


def boxes_of(data: bytes | bytearray) -> list[Box]:
    """The boxes of an MP4, those within others too; it stops at the first that does not fit."""
    boxes: list[Box] = []
    waiting = [(0, len(data))]
    while waiting and len(boxes) < 3000:
        place, end = waiting.pop()
        if place + 8 > end:
            continue
        size = struct.unpack_from(">I", data, place)[0]
        if size < 8 or place + size > end:
            continue
        boxes.append((place, size))
        waiting.append((place + size, end))
        if bytes(data[place + 4 : place + 8]) in CONTAINERS:
            waiting.append((place + 8, place + size))
    return boxes


Mutation = Callable[[bytearray, random.Random, dict[str, bytes]], None]


def _flip(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    end = min(len(data), chance.choice([64, 1024, len(data)]))
    for _flip_number in range(chance.choice([1, 3, 20, 200])):
        data[chance.randrange(end)] ^= 1 << chance.randrange(8)


def _cut_end(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    del data[chance.randrange(len(data)) :]


def _cut_out(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    place = chance.randrange(len(data))
    del data[place : place + chance.choice([1, 4, 188, 4000])]


def _repeat(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    place = chance.randrange(len(data))
    data[place:place] = data[place : place + chance.choice([1, 16, 188, 2000])] * chance.choice([1, 10, 100])


def _splice(data: bytearray, chance: random.Random, seeds: dict[str, bytes]) -> None:
    other = seeds[chance.choice(list(SEEDS))]
    data[chance.randrange(len(data)) :] = other[chance.randrange(len(other)) :]


def _stretch(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    """Write extreme numbers, as sizes, counts and times would be."""
    end = min(len(data), chance.choice([200, 2000, len(data)]))
    for _number in range(chance.choice([1, 2, 8])):
        number, width = chance.choice(EXTREMES), chance.choice([1, 2, 4, 8])
        place = chance.randrange(end)
        written = (number & (1 << 8 * width) - 1).to_bytes(width, chance.choice(["big", "little"]))
        data[place : place + width] = written


def _swap_boxes(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    boxes = boxes_of(data)
    if len(boxes) > 1:
        (first, first_size), (second, second_size) = sorted(chance.sample(boxes, 2))
        if first + first_size <= second:
            middle = data[first + first_size : second]
            data[first : second + second_size] = data[second : second + second_size] + middle + data[first : first + first_size]


def _resize_box(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    boxes = boxes_of(data)
    if boxes:
        place, size = chance.choice(boxes)
        struct.pack_into(">I", data, place, chance.choice([0, 1, 7, 8, size - 1, size + 1, size * 2, 2**31, 2**32 - 1]))


def _rename_box(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    boxes = boxes_of(data)
    if boxes:
        place, _size = chance.choice(boxes)
        data[place + 4 : place + 8] = chance.choice(BOX_NAMES)


def _copy_box(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    boxes = boxes_of(data)
    if boxes:
        (place, size), (target, _size) = chance.choice(boxes), chance.choice(boxes)
        data[target:target] = data[place : place + size] * chance.choice([1, 1, 50])


def _drop_box(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    boxes = boxes_of(data)
    if boxes:
        place, size = chance.choice(boxes)
        del data[place : place + size]


def _stretch_box(data: bytearray, chance: random.Random, _: dict[str, bytes]) -> None:
    """Write an extreme number into a box: counts of samples, sizes of pictures, times."""
    boxes = [(place, size) for place, size in boxes_of(data) if size >= 16]
    if boxes:
        place, size = chance.choice(boxes)
        at = place + 8 + 4 * chance.randrange(min(size // 4 - 2, 30))
        struct.pack_into(">I", data, at, chance.choice(EXTREMES))


MUTATIONS: Sequence[Mutation] = (_flip, _cut_end, _cut_out, _repeat, _splice, _stretch, _stretch)
BOX_MUTATIONS: Sequence[Mutation] = (_swap_boxes, _resize_box, _rename_box, _copy_box, _drop_box, _stretch_box, _stretch_box)


def _tracks(folder: Path, _: dict[str, bytes]) -> bytes:
    return with_empty_tracks(folder / "plain.mp4", folder / "tracks.mp4", 1001).read_bytes()


def _samples(_: Path, seeds: dict[str, bytes]) -> bytes:
    """An MP4 whose time table promises two thousand million pictures."""
    data = bytearray(seeds["plain.mp4"])
    struct.pack_into(">III", data, data.index(b"stts") + 8, 1, 2**31 - 1, 2**31 - 1)
    return bytes(data)


def _ages(_: Path, seeds: dict[str, bytes]) -> bytes:
    """An MP4 whose movie header promises ages."""
    data = bytearray(seeds["plain.mp4"])
    struct.pack_into(">II", data, data.index(b"mvhd") + 16, 1, 2**32 - 2)
    return bytes(data)


def _depth(_: Path, seeds: dict[str, bytes]) -> bytes:
    """An MP4 of boxes within boxes."""
    size = 8 * 20_000
    return seeds["plain.mp4"][:32] + b"".join(struct.pack(">I4s", size - 8 * i, b"moov") for i in range(20_000))


def _screen(_: Path, seeds: dict[str, bytes]) -> bytes:
    """A GIF whose screen is 65535x65535."""
    return seeds["palette.gif"][:6] + b"\xff" * 4 + seeds["palette.gif"][10:]


def _picture(side: int) -> bytes:
    """A PNG of side x side black pixels, 8 bit."""
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _pixels(folder: Path, _: dict[str, bytes]) -> bytes:
    """A Matroska file with one picture of 8,000 x 8,000, which is within the limit, in 63 kB."""
    (folder / "picture.png").write_bytes(_picture(8_000))
    ffmpeg("-probesize", "32", "-i", folder / "picture.png", "-c", "copy", folder / "picture.mkv")
    return (folder / "picture.mkv").read_bytes()


def _programmes(_: Path, __: dict[str, bytes]) -> bytes:
    """Packets of an MPEG transport stream, each of another stream."""
    packets = (b"\x47" + struct.pack(">HB", 0x4000 | pid, 0x10) + b"\0\0\1\xe0" + bytes(180) for pid in range(32, 4000))
    return b"".join(packets)


def _elements(_: Path, seeds: dict[str, bytes]) -> bytes:
    """A Matroska file of clusters within clusters."""
    mkv = seeds["h264.mkv"]
    return mkv[: mkv.index(b"\x1f\x43\xb6\x75")] + b"\x1f\x43\xb6\x75\x01\xff\xff\xff\xff\xff\xff\xff" * 5000


BOMBS: dict[Callable[[Path, dict[str, bytes]], bytes], str] = {
    _tracks: ".mp4",
    _samples: ".mp4",
    _ages: ".mp4",
    _depth: ".mp4",
    _screen: ".gif",
    _pixels: ".mkv",
    _programmes: ".ts",
    _elements: ".mkv",
}
"""What makes a bomb -> the ending of its file."""
