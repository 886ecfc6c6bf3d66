"""Transport streams in which the video changes its codec, PID or size after one second, as joined recordings do."""

from __future__ import annotations

from pathlib import Path

from tests.support.media import ffmpeg, make_clip

H264 = ("-c:v", "libx264", "-preset", "fast", "-crf", "20", "-pix_fmt", "yuv420p")
HEVC = ("-c:v", "libx265", "-x265-params", "log-level=none:pools=1", "-crf", "20", "-pix_fmt", "yuv420p")
MPEG2 = ("-c:v", "mpeg2video", "-q:v", "2")
OTHER_PIDS = ("-mpegts_start_pid", "0x200", "-mpegts_pmt_start_pid", "0x1100")

CHANGING = {
    "h264-then-hevc.ts": (H264, HEVC),
    "hevc-then-h264.ts": (HEVC, H264),
    "h264-then-mpeg2.ts": (H264, MPEG2),
    "h264-then-hevc-on-another-pid.ts": (H264, (*HEVC, *OTHER_PIDS)),
    "h264-then-h264-on-another-pid.ts": (H264, (*H264, *OTHER_PIDS)),
    "h264-then-another-profile.ts": (H264, (*H264, "-profile:v", "main", "-refs", "1")),
}
"""Name of a file -> how its first and its second second are encoded."""


def make_changing(path: Path) -> Path:
    """A file of `CHANGING`: two seconds of a face at 25 pictures a second."""
    source = make_clip(path.with_suffix(".mkv"), 320, 180, 2, kind="face", options=("-c:v", "ffv1", "-pix_fmt", "yuv420p"))
    parts = []
    for second, options in enumerate(CHANGING[path.name]):
        part = path.with_suffix(f".{second}.part.ts")
        ffmpeg("-ss", str(second), "-t", "1", "-i", source, *options, "-output_ts_offset", str(second), part)
        parts.append(part.read_bytes())
    path.write_bytes(b"".join(parts))
    return path
