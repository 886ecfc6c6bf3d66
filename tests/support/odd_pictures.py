"""Videos whose pictures are not shown as they are coded: turned, interlaced, HDR; and files with several tracks."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.support.media import face_frames, ffmpeg, write_frames

MATRICES = {
    "as it is": (),
    "mirrored": ("-display_hflip",),
    "upended": ("-display_vflip",),
    "half turn": ("-display_rotation", "180"),
    "quarter turn left": ("-display_rotation", "90"),
    "quarter turn right": ("-display_rotation", "-90"),
    "quarter turn left, mirrored": ("-display_rotation", "90", "-display_hflip"),
    "quarter turn right, mirrored": ("-display_rotation", "-90", "-display_hflip"),
}
"""All ways to lay a picture on the screen -> ffmpeg's input options that write its display matrix."""

RGB = NDArray[np.uint8]


def turned_clip(path: Path, name: str) -> Path:
    """Four pictures of a face with the display matrix of that name in `MATRICES`."""
    plain = write_frames(path.with_suffix(".plain.mp4"), face_frames(160, 96, 0.2, 25), 25)
    ffmpeg(*MATRICES[name], "-i", plain, "-c", "copy", path)
    return path


def as_ffmpeg_shows(path: Path, width: int, height: int) -> RGB:
    """(height, width, 3) RGB: the first picture as ffmpeg turns it for the screen."""
    raw = path.with_suffix(".rgb")
    ffmpeg("-i", path, "-frames:v", "1", "-pix_fmt", "rgb24", "-f", "rawvideo", raw)
    return np.frombuffer(raw.read_bytes(), np.uint8).reshape(height, width, 3)


def interlaced_clip(
    path: Path, options: tuple[str, ...] = ("-c:v", "ffv1"), moving: bool = True, height: int = 240, flagged: bool = True
) -> tuple[Path, list[RGB]]:
    """25 frames a second of two fields, top field first, and the pictures of the first fields' moments.

    The lines from the 160th on do not move. moving: whether anything does; without it the video is progressive. flagged: whether
    it is flagged as interlaced.
    """
    frames = [frame.copy() for frame in face_frames(320, height, 0.4, 50)]
    for number, frame in enumerate(frames):
        shift = 4 * number if moving else 0
        frame[:160] = np.roll(frame[:160], shift, axis=1)
        frame[160:] = frames[0][160:]
        if not moving:
            frame[:] = frames[0]
    woven = [first.copy() for first in frames[0::2]]
    for picture, second in zip(woven, frames[1::2], strict=True):
        picture[1::2] = second[1::2]
    flags = ("-vf", "setfield=tff", "-flags", "+ilme+ildct", "-field_order", "tt") if flagged else ()
    flags = (*flags, "-pix_fmt", "yuv444p")
    return write_frames(path, woven, 25, (*flags, *options)), frames[0::2]


def striped_clip(path: Path, period: float, speed: float, crf: int = 20) -> Path:
    """A progressive face whose lower half wears stripes: `period` lines each, that move down by `speed` lines a picture."""
    lines = np.arange(240)[:, None, None]
    frames = []
    for number, frame in enumerate(face_frames(320, 240, 0.6, 25)):
        stripes = np.where(np.sin((lines + speed * number) * 2 * np.pi / period + 0.3) > 0, 60, -60)
        stripes[:120] = 0
        frames.append(np.clip(frame + stripes, 0, 255).astype(np.uint8))
    return write_frames(path, frames, 25, ("-crf", str(crf), "-pix_fmt", "yuv420p"))


def scrolling_clip(path: Path, across: int, down: int) -> Path:
    """A progressive face behind thin white letters that move by (across, down) px a picture."""
    frames = []
    for number, frame in enumerate(face_frames(320, 240, 0.6, 25)):
        picture = np.ascontiguousarray(frame)
        for row in range(12):
            place = (20 - across * number, (row * 24 - down * number) % 264)
            cv2.putText(picture, "EEE === TEXT --- that goes on and on", place, cv2.FONT_HERSHEY_PLAIN, 1, (255, 255, 255), 1)
        frames.append(picture)
    return write_frames(path, frames, 25)


def hdr_clip(path: Path, light: NDArray[np.float64], curve: str) -> Path:
    """(H, W, 3) light of a display, cd/m^2 with the primaries of BT.2020, as two pictures in 10 bit. curve: "pq" or "hlg"."""
    signal = _pq(light) if curve == "pq" else _hlg(light)
    name = {"pq": "smpte2084", "hlg": "arib-std-b67"}[curve]
    tags = f"setparams=color_primaries=bt2020:color_trc={name}:colorspace=bt2020nc:range=tv"
    raw = np.repeat(np.rint(signal * 65535).astype(np.uint16)[None], 2, axis=0)
    height, width = light.shape[:2]
    ffmpeg(
        "-f", "rawvideo", "-pix_fmt", "rgb48le", "-s", f"{width}x{height}", "-r", "25", "-i", "-",
        "-vf", f"scale=out_color_matrix=bt2020:out_range=tv,{tags}",
        "-c:v", "ffv1", "-pix_fmt", "yuv444p10le", path, data=raw.tobytes(),
    )  # fmt: skip
    return path


def _pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    power = (light / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def _hlg(light: NDArray[np.float64]) -> NDArray[np.float64]:
    shown = light / 1000
    luminance = shown @ np.array([0.2627, 0.6780, 0.0593])
    scene = shown * np.maximum(luminance, 1e-9)[..., None] ** (1 / 1.2 - 1)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), a * np.log(np.maximum(12 * scene - b, 1e-9)) + c)


def two_tracks(path: Path, second_is_default: bool) -> Path:
    """A small black video and a larger one of a face, in this order."""
    black, face = path.with_suffix(".black.mp4"), path.with_suffix(".face.mp4")
    ffmpeg("-f", "lavfi", "-i", "color=black:size=64x36:rate=25", "-t", "0.2", "-pix_fmt", "yuv420p", black)
    write_frames(face, face_frames(160, 96, 0.2, 25), 25)
    flags = ("0", "default") if second_is_default else ("default", "0")
    options = [f"-disposition:v:{track}" for track in range(2)]
    chosen = [word for pair in zip(options, flags, strict=True) for word in pair]
    ffmpeg("-i", black, "-i", face, "-map", "0", "-map", "1", "-c", "copy", *chosen, path)
    return path


def sound_with_cover(path: Path, cover_only: bool = True) -> Path:
    """Sound with a cover picture; cover_only: without a video. The cover is larger than the video and comes first."""
    cover = path.with_suffix(".jpg")
    cv2.imwrite(str(cover), np.full((320, 320, 3), (120, 0, 0), np.uint8))
    sound = ("-f", "lavfi", "-i", "sine=duration=1")
    if cover_only:
        ffmpeg(*sound, "-i", cover, "-map", "1", "-map", "0", "-c:v", "copy", "-disposition:v:0", "attached_pic", path)
        return path
    video = write_frames(path.with_suffix(".plain.mp4"), face_frames(160, 96, 0.2, 25), 25)
    inputs = ("-i", cover, "-i", video, "-map", "0", "-map", "1")
    ffmpeg(*inputs, "-c", "copy", "-disposition:v:0", "attached_pic", "-disposition:v:1", "0", path)
    return path
