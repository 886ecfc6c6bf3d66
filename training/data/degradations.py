"""The catalogue of degradations: every kind, its steps from mild to severe, and the ffmpeg and byte operations that make them.

Each degraded segment gets a label on the scale 0-100:

- compression, scaling, blur, packet loss and their mixtures: VMAF against the reference;
- noise, frozen and dropped frames, exposure and black: VMAF does not see part of these (noise of sigma 20 still gets 80-90),
  so their label is the target that the step declares below. The order of the steps is sure, their distances are an opinion.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.data.ffmpeg import picture_count, picture_rate, picture_size, run_ffmpeg

REFERENCE_LABEL = 97.0
"""VMAF gives a reference itself 100, but no source is perfect; x264 at crf 18 has about 97."""

NEAR_LOSSLESS = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "10")


@dataclass(frozen=True)
class Degradation:
    """One step of a ladder: a kind of damage, and how strong it is."""

    kind: str
    step: int
    """0 upwards; a higher step of a kind is always worse."""
    filters: str = "null"
    """ffmpeg filter chain on the reference."""
    codec: tuple[str, ...] = NEAR_LOSSLESS
    """Encoder arguments of the degraded stream."""
    upscale: float = 1.0
    """The stream is encoded at this share of the reference's width and height, and scaled up again."""
    target: float | None = None
    """The label, points; None: VMAF is the label."""
    loss: float = 0.0
    """Share of MPEG-TS packets that are lost on the way, 0-1."""
    freeze: tuple[float, float] | None = None
    """From when to when the picture stands still, seconds."""
    shown_rate: int | None = None
    """Pictures in a second that are shown, where they are fewer than the reference has."""


def _x264(crf: int) -> tuple[str, ...]:
    return ("-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf))


def _grain(sigma: int) -> str:
    return f"noise=alls={sigma}:allf=t:all_seed=7"


def ladders() -> list[Degradation]:
    """Every degradation, ladder by ladder; `fvq synth` draws from this list, so its order decides what a seed makes."""
    degradations: list[Degradation] = []

    def ladder(kind: str, steps: Iterable[dict[str, Any]]) -> None:
        degradations.extend(Degradation(kind, number, **step) for number, step in enumerate(steps))

    ladder("x264", ({"codec": _x264(crf)} for crf in (18, 22, 26, 29, 32, 35, 38, 41, 44, 48)))
    ladder(
        "x265",
        (
            {"codec": ("-c:v", "libx265", "-preset", "veryfast", "-x265-params", "log-level=error", "-crf", str(c))}
            for c in (22, 28, 34, 40, 46)
        ),
    )
    ladder(
        "vp9",
        (
            {"codec": ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "7", "-b:v", "0", "-crf", str(c))}
            for c in (30, 42, 52, 60, 63)
        ),
    )
    ladder("av1", ({"codec": ("-c:v", "libsvtav1", "-preset", "10", "-crf", str(c))} for c in (30, 42, 52, 58, 63)))
    ladder("mpeg4", ({"codec": ("-c:v", "mpeg4", "-q:v", str(q))} for q in (4, 9, 16, 24, 31)))
    ladder("scale", ({"upscale": f} for f in (0.75, 0.55, 0.4, 0.28, 0.2, 0.14)))
    ladder("blur", ({"filters": f"gblur=sigma={s}"} for s in (0.5, 0.9, 1.4, 2.2, 3.5, 5.5)))
    ladder("motion-blur", ({"filters": f"tmix=frames={n}"} for n in (2, 4, 8)))
    ladder("loss", ({"codec": _x264(26), "loss": share} for share in (0.004, 0.015, 0.05)))
    ladder("scale+x264", ({"upscale": f, "codec": _x264(c)} for f, c in ((0.7, 26), (0.6, 30), (0.5, 33), (0.4, 36), (0.3, 40))))
    ladder(
        "blur+x264", ({"filters": f"gblur=sigma={s}", "codec": _x264(c)} for s, c in ((0.6, 28), (1.2, 32), (2.0, 36), (3.0, 40)))
    )
    ladder("noise+x264", ({"filters": _grain(s), "codec": _x264(c)} for s, c in ((6, 28), (10, 34), (16, 38), (24, 42))))
    # From here on the labels are targets.
    ladder(
        "noise",
        (
            {"filters": _grain(s), "target": t, "codec": _x264(16)}
            for s, t in ((6, 85.0), (12, 70.0), (22, 54.0), (36, 38.0), (60, 22.0))
        ),
    )
    # The first steps cost little: a picture does not show whether it was darkened or filmed in the dark.
    ladder(
        "dark",
        (
            {"filters": f"lutyuv=y='16+(val-16)*{k}'", "target": t}
            for k, t in ((0.7, 92.0), (0.45, 80.0), (0.25, 50.0), (0.1, 22.0), (0, 3.0))
        ),
    )
    ladder("bright", ({"filters": f"eq=brightness={b}", "target": t} for b, t in ((0.12, 92.0), (0.28, 72.0), (0.5, 34.0))))
    ladder(
        "freeze", ({"freeze": times, "target": t} for times, t in (((0.48, 0.96), 68.0), ((0.32, 1.36), 46.0), ((0, 1.96), 22.0)))
    )
    ladder("drop", ({"shown_rate": rate, "target": t} for rate, t in ((12, 72.0), (6, 48.0), (3, 28.0))))
    return degradations


KINDS = {step.kind: step.target is None for step in ladders()}
"""Kind -> whether VMAF is its label; else the label is the step's target."""


def vmaf_label(vmaf: float) -> float:
    """VMAF as a label, points: at most `REFERENCE_LABEL`."""
    return round(min(vmaf, REFERENCE_LABEL), 3)


def label(degradation: Degradation, vmaf: float) -> float:
    """The label of a degraded segment, points: the target of the step, or else VMAF."""
    return vmaf_label(vmaf) if degradation.target is None else degradation.target


def degrade(reference: Path, degradation: Degradation, out: Path, seed: str | None = None) -> None:
    """Write the degraded segment to `out`, as a viewer's player would show it, at the reference's size and rate.

    seed: decides which packets are lost; None: the reference's file name. Raises `subprocess.CalledProcessError` where
    ffmpeg fails, ValueError where pictures are to be dropped, or to stand still, of which the reference has too few.
    """
    width, height = picture_size(reference)
    rate = picture_rate(reference)
    small = [max(2, int(side * degradation.upscale) // 2 * 2) for side in (width, height)]
    chain = _timed(degradation, reference, rate)
    if degradation.upscale != 1:
        chain += f",scale={small[0]}:{small[1]}:flags=bicubic"
    if degradation.upscale == 1 and not degradation.loss:
        run_ffmpeg("-i", reference, "-filter_complex", chain, "-pix_fmt", "yuv420p", *degradation.codec, out)
        return
    middle = out.with_name(f".{out.stem}.middle.mkv" if not degradation.loss else f".{out.stem}.middle.ts")
    run_ffmpeg("-i", reference, "-filter_complex", chain, "-pix_fmt", "yuv420p", *degradation.codec, middle)
    if degradation.loss:
        _lose_packets(middle, degradation.loss, seed=reference.name if seed is None else seed)
    shown = f"fps={rate:g},scale={width}:{height}:flags=bicubic"
    run_ffmpeg("-i", middle, "-vf", shown, "-pix_fmt", "yuv420p", *NEAR_LOSSLESS, out)
    middle.unlink()


def _timed(degradation: Degradation, reference: Path, rate: float) -> str:
    """The filters of a degradation at that rate, pictures per second."""
    if degradation.freeze is not None:
        first, last = (round(time * rate) for time in degradation.freeze)
        if picture_count(reference) < first + 2:
            raise ValueError(f"{reference} is too short: its picture stands still from {degradation.freeze[0]} s on")
        return f"split[a][b];[a][b]freezeframes=first={first}:last={last}:replace={first}"
    if degradation.shown_rate is not None:
        if degradation.shown_rate >= rate:
            raise ValueError(f"{reference} has {rate:g} pictures in a second: showing {degradation.shown_rate} drops none")
        # Of a clip that ends between two shown pictures, ffmpeg rounds the length.
        same_length = f"tpad=stop=-1:stop_mode=clone,trim=end_frame={picture_count(reference)}"
        return f"fps={degradation.shown_rate},fps={rate:g},{same_length}"
    return degradation.filters


def _lose_packets(stream: Path, share: float, seed: str) -> None:
    """Remove a share of a transport stream's packets from the file; of a short stream as many as of one of 500 packets.

    The first 16 packets stay: the tables and the start of the first picture. With one seed, a larger share loses the packets
    of the smaller share and more, so that it is always worse.
    """
    data = stream.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    order = list(range(16, len(packets)))
    random.Random(seed).shuffle(order)  # noqa: S311
    lost = set(order[: max(round(500 * share), round(len(order) * share))])
    stream.write_bytes(b"".join(packet for i, packet in enumerate(packets) if i not in lost))
