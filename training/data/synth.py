"""Degraded segments with labels, made from clean face clips and stills: the base data that `nano` learns from.

    fvq synth OUT SOURCE... [--steps 26] [--variants 1] [--seconds 2] [--jobs 2] [--seed 0]

For each source (a video or a still) a clean reference is made (`training.data.references`), with `--variants` several, and
from each reference a set of degraded segments (`training.data.degradations`). Their labels on the scale 0-100 are VMAF
against the reference, or the declared target of the kinds that VMAF cannot judge. SSIM and PSNR are written beside them.

A run can be killed and started again: finished segments are kept. A folder that was made with another seed, length or source is
refused. The same seed makes the same pictures and labels.
"""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from training.data.compare import compare
from training.data.degradations import KINDS, Degradation, degrade, label, ladders
from training.data.ffmpeg import FPS
from training.data.labels import write_labels
from training.data.progress import Progress
from training.data.records import kept_record
from training.data.references import check_made_from, made_from, make_reference
from training.data.remarks import remark
from training.data.sent import send


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
    """Make the segments of all sources, and `labels.csv` beside them; returns the path of that file.

    sources: of `training.data.references.find_sources`. steps: degradations of each reference, drawn at random over the
    kinds; a number above that of all steps means all. kinds: which of `KINDS`. variants: references of each source; each is
    a content of its own, of the same person. seconds: length of a segment. jobs: encoders that run at once. Sources that cannot
    be read or are too short are left out with a remark; raises ValueError where none is left, where two contents would have the
    same name, and where `out` has a reference that was made otherwise.
    """
    out.mkdir(parents=True, exist_ok=True)
    references = {
        f"{source.stem}-v{variant}" if variant else source.stem: (source, variant)
        for source in sources
        for variant in range(variants)
    }
    if len(references) < len(sources) * variants:
        raise ValueError("a source has the name of another one's variant, as anna-v1 beside anna: rename one")

    def write_reference(content: str) -> str:
        return _write_reference(out, content, *references[content], seconds, seed)

    def write_segment(item: tuple[str, Degradation | None]) -> dict[str, Any] | str:
        content, degradation = item
        source, _ = references[content]
        return _segment(out, content, source.stem, degradation, made_from(seed, seconds, [source]))

    rows = []
    # What is left out is told here and not in the pool's threads: Ctrl-C also ends their ffmpeg, which is no fault of a segment.
    with ThreadPoolExecutor(jobs) as pool:
        written = Progress(pool.map(write_reference, references), "references", total=len(references))
        contents = set()
        for content, problem in zip(references, written, strict=True):
            if problem:
                remark(problem)
            else:
                contents.add(content)
        if not contents:
            raise ValueError("no reference could be made of any source")
        todo = [
            (content, step)
            for content in references
            if content in contents
            for step in (None, *_drawn_steps(content, steps, kinds, seed))
        ]
        segments = pool.map(write_segment, todo)
        for segment in Progress(segments, "segments", total=len(todo)):
            if isinstance(segment, str):
                remark(segment)
            else:
                rows.append(segment)
    if not rows:
        raise ValueError("no segment could be made of any reference")
    return write_labels(out / "labels.csv", [name for name in rows[0] if name not in ("vmaf_frames", "made_from")], rows)


def _drawn_steps(content: str, steps: int, kinds: Collection[str], seed: int) -> list[Degradation]:
    """So many degradations for one reference, in the order in which the seed draws them."""
    chosen = [step for step in ladders() if step.kind in kinds]
    random.Random(f"{seed}/{content}").shuffle(chosen)  # noqa: S311
    return chosen[:steps]


def _write_reference(out: Path, content: str, source: Path, variant: int, seconds: float, seed: int) -> str:
    """Make the reference of a content where it is missing; returns why it is left out where its source is of no use, or "".

    Raises ValueError where it was made otherwise.
    """
    reference = out / f"{content}.reference.mkv"
    if (record := reference.with_suffix(".json")).exists():
        wanted = made_from(seed, seconds, [source])
        check_made_from(reference, json.loads(record.read_text()).get("made_from", wanted), wanted)
    if not reference.exists():
        try:
            make_reference(source, reference, seconds, variant, f"{seed}/{content}")
        except subprocess.SubprocessError:
            return f"{source}: left out, ffmpeg cannot read it"
        except ValueError as error:
            return f"left out: {error}"
    return ""


def _segment(out: Path, content: str, person: str, degradation: Degradation | None, origin: str) -> dict[str, Any] | str:
    """Make one segment and its record, unless the record is there; returns its row of the labels file.

    degradation: None for the reference itself. origin: of `made_from`. Returns why it is left out where ffmpeg cannot make or
    measure the segment, and where the reference is too short for this damage.
    """
    reference = out / f"{content}.reference.mkv"
    name = f"{content}.{degradation.kind}-{degradation.step}" if degradation else f"{content}.reference"
    clip = out / f"{name}.mkv"
    kind, step = (degradation.kind, degradation.step) if degradation else ("reference", 0)

    def make() -> dict[str, Any]:
        row = {"path": clip.name, "content": content, "person": person, "kind": kind, "step": step}
        if degradation is None:
            return row | send(reference, FPS, f"{origin}/{content}") | {"vmaf_frames": [], "made_from": origin}
        degrade(reference, degradation, clip)
        scores = compare(clip, reference, FPS)
        return row | {"mos": label(degradation, scores["vmaf"])} | scores

    try:
        row = kept_record(clip.with_suffix(".json"), make) | {"person": person}
    except subprocess.CalledProcessError as error:
        # Packet loss can leave nothing to decode: such a segment has no picture to rate.
        return f"{name}: left out, ffmpeg failed ({error.returncode})"
    except subprocess.TimeoutExpired as error:
        return f"{name}: left out, ffmpeg took more than {error.timeout:g} s"
    except ValueError as error:
        return f"{name}: left out, {error}"
    # The label is computed again, because targets change more often than pictures.
    return row | {"mos": label(degradation, row["vmaf"])} if degradation else row
