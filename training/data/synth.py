"""Degraded segments with labels, made from clean face clips and stills: the base data that `nano` learns from.

    fvq synth OUT SOURCE... [--steps 26] [--variants 1] [--seconds 2] [--jobs 2] [--seed 0]

For each source (a video, or a still that is given camera motion) a clean reference is made by scaling it down, and
from the reference a set of degradations. Each degraded segment gets a label on the scale 0-100:

- compression, scaling, blur, packet loss and their mixtures: VMAF against the reference (SSIM and PSNR beside it);
- noise, frozen and dropped frames, exposure and black: VMAF is blind to part of these (noise of sigma 20 still gets
  80-90), so their label is the step's target in the ladders below: the order is sure, the distances are an opinion.

Contents are what such data is short of. With `--variants`, further references are made of each source: another stretch,
size, crop, side and light. A network that saw one reference of each takes its sharpness for its quality.

A run can be killed and started again: finished segments are kept. The same seed makes the same files.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import subprocess
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import imageio_ffmpeg
import numpy as np
from tqdm import tqdm

FPS = 25
STILLS = {".jpg", ".jpeg", ".png", ".webp"}
VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".ts", ".m4v", ".avi", ".flv"}
REFERENCE_LABEL = 97.0
"""VMAF gives a reference itself 100, but no source is perfect; x264 at crf 18 has about 97."""

NEAR_LOSSLESS = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "10")


@dataclass(frozen=True)
class Degradation:
    """One step of a ladder. kind and step name it; a higher step of a kind is always worse.

    filters: ffmpeg filter chain on the reference. codec: encoder arguments of the degraded stream.
    upscale: the stream is encoded at this fraction of the size and scaled back. target: the label, None for VMAF.
    loss: share of MPEG-TS packets that are lost on the way, 0-1.
    """

    kind: str
    step: int
    filters: str = "null"
    codec: tuple[str, ...] = NEAR_LOSSLESS
    upscale: float = 1.0
    target: float | None = None
    loss: float = 0.0


def _x264(crf: int) -> tuple[str, ...]:
    return ("-c:v", "libx264", "-preset", "veryfast", "-crf", str(crf))


def _grain(sigma: int) -> str:
    return f"noise=alls={sigma}:allf=t:all_seed=7"


def ladders() -> list[Degradation]:
    """Every degradation, ladder by ladder."""
    made: list[Degradation] = []

    def ladder(kind: str, steps: Iterable[dict[str, Any]]) -> None:
        made.extend(Degradation(kind, i, **step) for i, step in enumerate(steps))

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
    # Ladders whose order is known and whose labels are targets.
    ladder(
        "noise",
        (
            {"filters": _grain(s), "target": t, "codec": _x264(16)}
            for s, t in ((6, 85.0), (12, 70.0), (22, 54.0), (36, 38.0), (60, 22.0))
        ),
    )
    # Mild where it begins: a picture cannot tell whether somebody darkened it or sat in the dark.
    ladder(
        "dark",
        (
            {"filters": f"lutyuv=y='16+(val-16)*{k}'", "target": t}
            for k, t in ((0.7, 92.0), (0.45, 80.0), (0.25, 50.0), (0.1, 22.0), (0, 3.0))
        ),
    )
    ladder("bright", ({"filters": f"eq=brightness={b}", "target": t} for b, t in ((0.12, 92.0), (0.28, 72.0), (0.5, 34.0))))
    ladder("freeze", ({"filters": f"split[a][b];[a][b]freezeframes=first={a}:last={z}:replace={a}", "target": t}
                      for a, z, t in ((12, 24, 68.0), (8, 34, 46.0), (0, 49, 22.0))))  # fmt: skip
    ladder("drop", ({"filters": f"fps={f},fps={FPS}", "target": t} for f, t in ((12, 72.0), (6, 48.0), (3, 28.0))))
    return made


KINDS = {step.kind: step.target is None for step in ladders()}
"""Every kind, and whether VMAF is its label (else a ladder's target)."""

VMAF_TRUSTED = frozenset({"x264", "x265", "vp9", "av1", "mpeg4", "scale", "blur", "scale+x264", "blur+x264"})
"""Kinds on which VMAF can be trusted: it was made for compression and scaling (Li et al., Netflix, 2016), and sees blur. What
changes over time (loss, motion blur) and noise that is compressed carry it for want of better."""


def is_vmaf_labelled(kind: str) -> bool:
    """Whether segments of that kind carry VMAF as their label; references do, and what was not made here counts as such."""
    return KINDS.get(kind, True)


@dataclass(frozen=True)
class Look:
    """How a reference is made of its source.

    start: seconds. scale: of the source's size, or of a still's film. shortest: side that is not gone below, px.
    speed: of a video's time, or of a still's camera. crop: (width, height, x, y) as shares of the picture. light: an
    ffmpeg filter.
    """

    start: float
    scale: float
    shortest: int = 256
    crop: tuple[float, float, float, float] = (1.0, 1.0, 0.0, 0.0)
    speed: float = 1.0
    mirror: bool = False
    light: str = "null"


def look(variant: int, rng: random.Random) -> Look:
    """The first variant of a source is as it is, scaled down by at least a quarter to hide its own flaws; others differ more."""
    if variant == 0:
        return Look(start=rng.uniform(0, 1.0), scale=rng.uniform(0.5, 0.75))
    wide, high = rng.uniform(0.65, 1.0), rng.uniform(0.65, 1.0)
    light = f"eq=gamma={rng.uniform(0.75, 1.3):.2f}:contrast={rng.uniform(0.85, 1.1):.2f}:saturation={rng.uniform(0.6, 1.3):.2f}"
    return Look(
        start=rng.uniform(0, 1.0),
        speed=rng.choice((0.3, 0.6, 1.0, 1.0, 1.5, 2.0)),
        scale=rng.uniform(0.45, 0.8),
        shortest=176,
        crop=(wide, high, rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)),
        mirror=rng.random() < 0.5,
        light=light,
    )


def make_reference(source: Path, out: Path, seconds: float, variant: int, seed: str) -> None:
    """A clean, lossless reference of `seconds` at 25 frames per second."""
    rng = random.Random(seed)  # noqa: S311 - reproducible data, not secrets
    part = out.with_suffix(".part.mkv")
    if source.suffix.lower() in STILLS:
        _film_still(source, part, seconds, variant, rng)
    else:
        how = look(variant, rng)
        # Too small a picture leaves the sampler no room for different fragments.
        size = ":".join(f"'trunc(max(i{a}*{how.scale:.3f},{how.shortest}*i{a}/min(iw,ih))/2)*2'" for a in "wh")
        crop = "crop=iw*{:.3f}:ih*{:.3f}:iw*{:.3f}:ih*{:.3f}".format(*how.crop) if variant else "null"
        mirror = "hflip" if how.mirror else "null"
        chain = f"setpts=PTS/{how.speed},fps={FPS},{crop},scale={size}:flags=lanczos,{mirror},{how.light},format=yuv420p"
        lossless = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0")
        _ffmpeg("-ss", f"{how.start:.2f}", "-i", source, "-t", str(seconds), "-an", "-vf", chain, *lossless, part)
    part.rename(out)


def _film_still(source: Path, out: Path, seconds: float, variant: int, rng: random.Random) -> None:
    """Pan and zoom over a still, at most at its own resolution so that it stays sharp."""
    picture = cv2.imread(str(source))
    if picture is None:
        raise ValueError(f"{source}: not a picture")
    how = look(variant, rng) if variant else Look(0.0, 0.8)
    if variant:
        high, wide = picture.shape[:2]
        share_w, share_h, x, y = how.crop
        picture = picture[int(y * high) : int((y + share_h) * high), int(x * wide) : int((x + share_w) * wide)]
        picture = np.ascontiguousarray(picture[:, ::-1] if how.mirror else picture)
    height, width = picture.shape[:2]
    shrink = min(0.8, 420 / min(height, width)) * how.scale / 0.8
    w, h = (int(side * shrink * 0.86) // 2 * 2 for side in (width, height))
    path = [(rng.uniform(0, 0.14), rng.uniform(0, 0.14), rng.uniform(0.94, 1.0)) for _ in range(2)]
    command = [*_FFMPEG, "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{w}x{h}", "-r", str(FPS), "-i", "-",
               "-vf", f"{how.light},format=yuv420p", "-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", str(out)]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for t in np.linspace(0, 1, int(seconds * FPS)):
            ease = (1 - np.cos(np.pi * t * how.speed)) / 2
            x, y, zoom = (a + (b - a) * ease for a, b in zip(*path, strict=True))
            matrix = np.array(
                [[shrink * zoom, 0, -x * width * shrink], [0, shrink * zoom, -y * height * shrink]], dtype=np.float32
            )
            # Area-filter first: warping alone would alias when shrinking.
            frame = cv2.warpAffine(
                cv2.GaussianBlur(picture, (0, 0), 0.4 / shrink),
                matrix,
                (w, h),
                flags=cv2.INTER_CUBIC,
                borderMode=cv2.BORDER_REFLECT,
            )
            process.stdin.write(frame.tobytes())
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


def degrade(reference: Path, how: Degradation, out: Path) -> None:
    """Write the degraded segment: what a viewer's player would be given, at the reference's size."""
    width, height = _size(reference)
    small = [max(2, int(side * how.upscale) // 2 * 2) for side in (width, height)]
    chain = how.filters if how.upscale == 1 else f"{how.filters},scale={small[0]}:{small[1]}:flags=bicubic"
    if how.upscale == 1 and not how.loss:
        _ffmpeg("-i", reference, "-filter_complex", chain, "-pix_fmt", "yuv420p", *how.codec, out)
        return
    middle = out.with_name(f".{out.stem}.middle.mkv" if not how.loss else f".{out.stem}.middle.ts")
    _ffmpeg("-i", reference, "-filter_complex", chain, "-pix_fmt", "yuv420p", *how.codec, middle)
    if how.loss:
        _lose_packets(middle, how.loss, seed=reference.name)
    _ffmpeg("-i", middle, "-vf", f"fps={FPS},scale={width}:{height}:flags=bicubic", "-pix_fmt", "yuv420p", *NEAR_LOSSLESS, out)
    middle.unlink()


def _lose_packets(stream: Path, share: float, seed: str) -> None:
    """Drop that share of a transport stream's packets, at least 500 times the share in number.

    The tables and the first picture's start are spared. Of one seed, a larger share loses what the smaller one does and
    more, so that it is worse for certain.
    """
    data = stream.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    order = list(range(16, len(packets)))
    random.Random(seed).shuffle(order)  # noqa: S311
    lost = set(order[: max(round(500 * share), round(len(order) * share))])
    stream.write_bytes(b"".join(packet for i, packet in enumerate(packets) if i not in lost))


def measure(degraded: Path, reference: Path) -> dict[str, Any]:
    """VMAF (mean and per frame), SSIM and PSNR of a segment against its reference, by ffmpeg's libvmaf."""
    log = degraded.with_suffix(".vmaf.json")
    align = f"fps={FPS},setpts=N/{FPS}/TB"
    graph = (
        f"[0:v]{align}[d];[1:v]{align}[r];"
        f"[d][r]libvmaf=log_fmt=json:log_path={log}:feature=name=psnr|name=float_ssim:n_threads=1:shortest=1"
    )
    _ffmpeg("-i", degraded, "-i", reference, "-lavfi", graph, "-f", "null", "-")
    data = json.loads(log.read_text())
    log.unlink()
    pooled = data["pooled_metrics"]
    return {
        "vmaf": round(pooled["vmaf"]["mean"], 3),
        "ssim": round(pooled["float_ssim"]["mean"], 5),
        "psnr": round(pooled["psnr_y"]["mean"], 3),
        "vmaf_frames": [round(frame["metrics"]["vmaf"], 2) for frame in data["frames"]],
    }


def label(how: Degradation, vmaf: float) -> float:
    """What a segment degraded like this is worth, points: its own label, or VMAF for the kinds that VMAF can judge."""
    return round(how.target if how.target is not None else min(vmaf, REFERENCE_LABEL), 3)


def synthesise(
    out: Path,
    sources: Sequence[Path],
    *,
    steps: int,
    kinds: Collection[str] = KINDS,
    variants: int = 1,
    seconds: float = 2.0,
    jobs: int = 2,
    seed: int = 0,
) -> Path:
    """Make the segments of all sources and `labels.csv` beside them; returns its path.

    steps: degradations taken of each reference, spread over the kinds at random; all of them if it is more than there
    are. kinds: which of `KINDS`. variants: references of each source; each is a content of its own, of the same person.
    """
    out.mkdir(parents=True, exist_ok=True)
    references = {f"{source.stem}-v{v}" if v else source.stem: (source, v) for source in sources for v in range(variants)}
    todo: list[tuple[str, Degradation | None]] = []
    for content in references:
        rng = random.Random(f"{seed}/{content}")  # noqa: S311
        chosen = [step for step in ladders() if step.kind in kinds]
        rng.shuffle(chosen)
        todo += [(content, None), *((content, how) for how in chosen[:steps])]

    def reference_of(content: str) -> None:
        if not (reference := out / f"{content}.reference.mkv").exists():
            source, variant = references[content]
            make_reference(source, reference, seconds, variant, f"{seed}/{content}")

    with ThreadPoolExecutor(jobs) as pool:
        list(tqdm(pool.map(reference_of, references), total=len(references), desc="references", disable=None))
        work = pool.map(lambda item: _one(out, item[0], references[item[0]][0].stem, item[1]), todo)
        rows = [row for row in tqdm(work, total=len(todo), desc="segments", disable=None) if row is not None]
    labels = out / "labels.csv"
    fields = [name for name in rows[0] if name != "vmaf_frames"]
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return labels


def _one(out: Path, content: str, person: str, how: Degradation | None) -> dict[str, Any] | None:
    reference = out / f"{content}.reference.mkv"
    name = f"{content}.{how.kind}-{how.step}" if how else f"{content}.reference"
    clip, record = out / f"{name}.mkv", out / f"{name}.json"
    if record.exists():
        row: dict[str, Any] = json.loads(record.read_text()) | {"person": person}
        # Targets are opinions, and change more often than pictures.
        return row | {"mos": label(how, row["vmaf"])} if how else row
    row = {
        "path": clip.name,
        "content": content,
        "person": person,
        "kind": how.kind if how else "reference",
        "step": how.step if how else 0,
    }
    if how is None:
        row |= {"mos": REFERENCE_LABEL, "vmaf": 100.0, "ssim": 1.0, "psnr": 60.0, "vmaf_frames": []}
    else:
        try:
            degrade(reference, how, clip)
            scores = measure(clip, reference)
        except subprocess.CalledProcessError as error:
            # Bitstream damage can leave nothing to decode: such a segment has no picture to rate.
            tqdm.write(f"{name}: left out, ffmpeg failed ({error.returncode})")
            return None
        row |= {"mos": label(how, scores["vmaf"])} | scores
    part = record.with_suffix(".part")
    part.write_text(json.dumps(row))
    part.rename(record)
    return row


_FFMPEG = (imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-v", "error", "-y", "-threads", "1", "-filter_threads", "1")


def _ffmpeg(*arguments: object) -> None:
    command = [*_FFMPEG, *map(str, arguments)]
    # Outputs are threaded too unless told otherwise, and threads change what some encoders write.
    command[-1:-1] = ["-threads", "1"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300)


def _size(path: Path) -> tuple[int, int]:
    video = cv2.VideoCapture(str(path))
    size = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))
    video.release()
    return size


def find_sources(paths: Sequence[Path]) -> list[Path]:
    """The videos and stills among and under the paths, sorted; raises ValueError where two share a name or there is none."""
    found: list[Path] = []
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        found += [file for file in files if file.suffix.lower() in STILLS | VIDEOS]
    names = [file.stem for file in found]
    if not found:
        raise ValueError(f"no video or still under {', '.join(map(str, paths))}")
    if len(set(names)) < len(names):
        raise ValueError("two sources have the same name: the name is the content's identity, rename one")
    return found


def fingerprint(labels: Path) -> str:
    """Short hash of a labels file: which data a model was trained on."""
    return hashlib.sha256(labels.read_bytes()).hexdigest()[:12]
