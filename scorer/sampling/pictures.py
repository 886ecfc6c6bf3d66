"""From a decoded frame to the picture that a viewer sees: one moment, SDR colours, square pixels, the right way up."""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from typing import Any

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter

from scorer.sampling.colour import as_sdr, is_wide, matrix_of, unknown_as_601
from scorer.sampling.combing import Mask, combed, deinterlaced, middle, small_deinterlaced, woven
from scorer.sampling.images import Image, luma_of, luma_scaled_down, scaled_down
from scorer.sampling.orientation import orientation_of, with_square_pixels

SMALL_LUMA_SIZE = (64, 36)
"""Width and height, px, of the small luma that is kept of every frame. Freezes and motion are measured on it."""

EIGHT_BIT_LUMA = {
    "yuv420p",
    "yuvj420p",
    "yuv422p",
    "yuvj422p",
    "yuv444p",
    "yuvj444p",
    "nv12",
    "nv21",
    "yuv410p",
    "yuv411p",
    "yuva420p",
}
"""Pixel formats whose first plane is 8-bit luma."""

LIMITED_RANGE = 1
"""FFmpeg's number for luma of 16-235."""

VERTICALLY_SHARED_CHROMA = {"yuv420p", "yuvj420p", "nv12", "nv21", "yuv420p10le", "p010le"}
"""Formats in which two lines share one line of chroma."""


class Pictures:
    """Makes the pictures of one stream's frames.

    pixel_aspect: width of a pixel divided by its height, None where the file does not say; it may be set anew, as it may change
    from frame to frame. thinning: the small luma is made of every so many-th line and column.
    """

    def __init__(self, pixel_aspect: Fraction | None, thinning: int = 1) -> None:
        self.pixel_aspect, self._thinning = pixel_aspect, thinning
        # A reformatter keeps its scaler between calls: setting one up for every frame takes longer than scaling.
        self._to_picture, self._to_square, self._to_small = VideoReformatter(), VideoReformatter(), VideoReformatter()
        self._combing: tuple[Any, Mask | None] = (None, None)
        self._unflagged: tuple[Any, Any] = (None, None)
        """The last frame that is not flagged as interlaced, and the one before it. Few are looked at for combing, so that holding
        a frame costs less than a copy of each one's luma."""

    def picture(self, frame: Any) -> Image:
        """(H, W, 3) RGB of an `av.VideoFrame` as a viewer sees it."""
        return orientation_of(frame)(with_square_pixels(self._of_one_moment(frame), self.pixel_aspect))

    def square(self, frame: Any, side: int) -> Image:
        """The same picture, squeezed to (side, side, 3)."""
        if not frame.interlaced_frame or self._combed(frame) is None:  # the scaler leaves no combing that must be proved
            small = _rgb(self._to_square, frame, (side, side))
        else:
            small = scaled_down(self._of_one_moment(frame), (side, side))
        return orientation_of(frame)(small)

    def small_luma(self, frame: Any) -> Image:
        """The luma of the same picture, as it is coded, at `SMALL_LUMA_SIZE`. Call it for each frame in turn, before `picture`.

        Here frames that are not flagged as interlaced are not looked at for combing: it is gone at this size.
        """
        if is_wide(frame):
            return luma_of(_rgb(self._to_small, frame, SMALL_LUMA_SIZE))
        luma = coded_luma(frame)
        if not frame.interlaced_frame:
            self._unflagged = frame, self._unflagged[0]
            return luma_scaled_down(self._thinned(luma), SMALL_LUMA_SIZE)
        mask = self._combed(frame)
        return scaled_down(luma, SMALL_LUMA_SIZE) if mask is None else small_deinterlaced(luma, mask, SMALL_LUMA_SIZE)

    def _thinned(self, luma: Image) -> Image:
        """Every so many-th line and column of a luma, at least twice as many as `SMALL_LUMA_SIZE` has."""
        width, height = SMALL_LUMA_SIZE
        step = max(1, min(self._thinning, luma.shape[1] // (2 * width), luma.shape[0] // (2 * height)))
        return luma[step // 2 :: step, step // 2 :: step]

    def _of_one_moment(self, frame: Any) -> Image:
        picture = _rgb(self._to_picture, frame)
        mask = self._combed(frame)
        return picture if mask is None else deinterlaced(picture, _first_field(frame, picture), mask)

    def _combed(self, frame: Any) -> Mask | None:
        """Where both fields of a frame show different moments; None where it is not combed.

        A frame that is not flagged as interlaced must prove it together with the frame before. Such frames of HDR and of the
        beginning of a clip are not looked at.
        """
        if not frame.interlaced_frame:
            now, before = self._unflagged
            if before is None or not woven(middle(coded_luma(before)), middle(coded_luma(now))):
                return None
            return combed(coded_luma(frame))
        if self._combing[0] is not frame:
            self._combing = frame, combed(coded_luma(frame))
        return self._combing[1]


def _rgb(reformatter: VideoReformatter, frame: Any, size: tuple[int, int] | None = None) -> Image:
    """(H, W, 3) uint8 RGB of a frame in SDR's colours, scaled to size (width, height) px if it is given."""
    options: dict[str, Any] = {"threads": 1, "src_colorspace": matrix_of(frame)}
    if size is not None:
        options |= {"width": size[0], "height": size[1], "interpolation": "AREA"}
    if is_wide(frame):
        return as_sdr(np.asarray(reformatter.reformat(frame, format="rgb48le", **options).to_ndarray(), np.uint16), frame)
    return _grey_in_full(np.asarray(reformatter.reformat(frame, format="rgb24", **options).to_ndarray(), np.uint8), frame)


def to_full_range(luma: Image) -> Image:
    """Luma of 16-235 -> 0-255."""
    return np.asarray(cv2.LUT(luma, _full_range()), np.uint8)


@cache
def _full_range() -> Image:
    return np.asarray(np.clip((np.arange(256) - 16) * 255 / 219 + 0.5, 0, 255), np.uint8)


def _grey_in_full(image: Image, frame: Any) -> Image:
    """An image of a frame, of the full range also where the frame has no colours: FFmpeg takes such luma for full as it is."""
    is_limited = frame.color_range == LIMITED_RANGE and frame.format.name.startswith("gray")
    return to_full_range(image) if is_limited else image


def coded_luma(frame: Any) -> Image:
    """(H, W) 8-bit luma of a frame as it is coded; of formats that have none in place, of the full range."""
    if frame.format.name not in EIGHT_BIT_LUMA:
        # By default PyAV starts a thread for each core, for each frame; their stacks count against a child's memory limit.
        luma = frame.to_ndarray(format="gray", threads=1, src_colorspace=unknown_as_601(frame))
        return _grey_in_full(np.asarray(luma, np.uint8), frame)
    # Reading the luma plane in place is ten times faster than a conversion, and this runs for every frame.
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width]


def _first_field(frame: Any, picture: Image) -> Image:
    """(H / 2, W, 3) RGB of the frame's first field. picture: the frame in RGB."""
    if frame.format.name not in VERTICALLY_SHARED_CHROMA or frame.height % 4 or frame.width % 2 or is_wide(frame):
        return picture[0::2]
    # Two lines of luma of different fields share a line of chroma in RGB. So the field is taken apart before.
    planes = frame.reformat(format="yuv420p", threads=1, src_colorspace=unknown_as_601(frame)).to_ndarray()
    luma, blue, red = np.split(planes, (frame.height, frame.height * 5 // 4))
    chroma = [plane.reshape(frame.height // 2, frame.width // 2)[0::2] for plane in (blue, red)]
    # Of a height that is no multiple of 8, the planes of chroma are no whole rows of this array.
    flat = np.concatenate([plane.ravel() for plane in (luma[0::2], *chroma)])
    field = av.VideoFrame.from_ndarray(flat.reshape(-1, frame.width), format="yuv420p")
    options = {"src_colorspace": matrix_of(frame) or frame.colorspace, "src_color_range": frame.color_range}
    return np.asarray(VideoReformatter().reformat(field, format="rgb24", threads=1, **options).to_ndarray(), np.uint8)
