"""Rated clips from the sets that people publish and from our own queue, as one type of row.

Every reader checks what it reads and reports what it drops: no clip that is missing, damaged, there twice or rated outside
the scale gets into training, and none is dropped in silence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from scipy.io import loadmat

from scorer.errors import MediaError
from scorer.sampling.decode import open_video
from training.data.digests import clip_digest
from training.data.scale import POINTS, Scale, is_rating_column, parse_scale, question, scale_of_column
from training.data.splits import SPLITS, choose_splits
from training.data.tabular import number_of, read_table, read_text

REPLAY = "replay"
"""The split of replayed clips, which keep a model from forgetting what it learned before; no file can name this split."""

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}

PATH_COLUMNS = ("path", "clip_uri", "video", "name")
CONTENT_COLUMNS = ("person", "content", "stream_id")
"""Columns that say what a clip shows; the first of them that a table has is used. Without any, each file is a content."""

OWN_COLUMNS = ({"example_id", "ratings"}, {"kind", "step", "vmaf"})
"""Columns of the tables that this project writes (`fvq rate export`, `fvq synth`): their ratings are points."""

MISSING = "the file is missing"

VIDEO_ENDINGS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".y4m", ".ts")


@dataclass(frozen=True)
class RatedClip:
    """A clip and its rating."""

    path: Path
    mos: float
    """Mean opinion score, 0-100."""
    content: str
    """The person or scene that it shows; all clips of one content are in one split."""
    split: str
    """One of `SPLITS`, or `REPLAY`."""
    ci: float | None = None
    """Half the width of the MOS's 95 % interval, points; None where the set does not name it."""


@dataclass(frozen=True)
class Dropped:
    """A row that was left out: where it stands (file and line, or file and name), and why."""

    where: str
    reason: str


@dataclass(frozen=True)
class RatedSet:
    """The clips that a reader read, and the rows that it dropped."""

    clips: list[RatedClip]
    dropped: list[Dropped] = field(default_factory=list)

    def of(self, split: str) -> list[RatedClip]:
        """The clips of one split."""
        return [clip for clip in self.clips if clip.split == split]

    def sampled(self, places: Iterable[int]) -> RatedSet:
        """Its clips at those places, which could be sampled; the others are dropped."""
        taken = set(places)
        lost = [clip for place, clip in enumerate(self.clips) if place not in taken]
        dropped = [Dropped(str(clip.path), "it cannot be sampled") for clip in lost]
        return RatedSet([clip for place, clip in enumerate(self.clips) if place in taken], [*self.dropped, *dropped])

    def report(self) -> str:
        """What was read and what was dropped, a line for each reason with its first place."""
        counts = ", ".join(f"{len(self.of(split))} {split}" for split in (*SPLITS, REPLAY) if split in SPLITS or self.of(split))
        lines = [f"{len(self.clips)} clips of {len({clip.content for clip in self.clips})} contents: {counts}"]
        by_reason: dict[str, list[str]] = {}
        for row in self.dropped:
            by_reason.setdefault(row.reason, []).append(row.where)
        lines += [f"dropped {len(places)}: {reason} ({places[0]}, ...)" for reason, places in by_reason.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class _Claim:
    """A row as the source has it, not checked yet. scale: None where the source does not say it."""

    where: str
    path: Path
    mos: str
    content: str
    split: str = ""
    ci: str = ""
    scale: Scale | None = None


def read_rated(source: Path, seed: int = 0, scale: str | None = None) -> RatedSet:
    """The rated clips of a source: a folder like FVQ-20K or CFVQA, or a CSV as `_table_claims` reads it.

    seed: decides which content goes to which split where the source does not say. scale: of the ratings, WORST-BEST, as 1-5;
    None takes what the source says, or points. Raises ValueError where the source is none of these, where its ratings look
    like another scale than points and nobody said which, or no clip of it is usable.
    """
    stated = None if scale is None else parse_scale(scale)
    if source.is_file():
        claims = list(_table_claims(source, stated))
    elif any((source / split / "labels.txt").is_file() for split in SPLITS):
        claims = list(_fvq20k_claims(source))
    elif (source / "MOS.mat").is_file():
        claims = list(_cfvqa_claims(source))
    else:
        raise ValueError(
            f"{source}: no rated clips; expected a CSV with path and mos, a folder with train/labels.txt and train/videos "
            "(FVQ-20K), or one with MOS.mat (CFVQA)"
        )
    if stated is None:
        _check_scale(claims, source)
    rated = _checked([_in_points(claim, stated) for claim in claims], seed)
    if not rated.clips:
        raise ValueError(f"{source}: no clip is left.\n{rated.report()}")
    return rated


def _fvq20k_claims(folder: Path) -> Iterator[_Claim]:
    """FVQ-20K (Wu et al., ACM MM 2025): `labels.txt` in `train`, `val`, `test` with a name and a MOS in a line, and `videos/`."""
    for split in SPLITS:
        labels = folder / split / "labels.txt"
        if not labels.is_file():
            continue
        for number, line in enumerate(read_text(labels).splitlines(), start=1):
            name, mos = _name_and_number(line)
            header = number == 1 and mos and not re.search(r"\d", mos)
            if not line.strip() or line.startswith("#") or header:
                continue
            path = _video(folder / split / "videos" / Path(name).name)
            yield _Claim(f"{labels}, line {number}", path, mos, path.stem, split)


def _cfvqa_claims(folder: Path) -> Iterator[_Claim]:
    """CFVQA (Li et al., 2023): `MOS.mat` with a name and a MOS in a row; names are `<content>_<codec>_<qp>`.

    The set holds raw planes, in files that do not say the size of the picture: they must be put into a container first.
    """
    where = folder / "MOS.mat"
    try:
        rows = loadmat(where)["MOS"]
        named = [(str(row[0].item()), str(row[1].item())) for row in rows]
    except (KeyError, ValueError, IndexError, NotImplementedError) as error:
        raise ValueError(f"{where}: not a table MOS of names and scores ({error})") from error
    videos = {path.stem: path for path in sorted(folder.rglob("*")) if path.suffix in (*VIDEO_ENDINGS, ".yuv")}
    for name, mos in named:
        yield _Claim(f"{where}, {name}", videos.get(name, folder / f"{name}.mkv"), mos, name.split("_")[0])


def _table_claims(table: Path, stated: Scale | None) -> Iterator[_Claim]:
    """A CSV with a header: `path,mos[,split][,content][,ci]`; the name of the column `mos` may say the scale (`mos_5`).

    The export of the rated queue is such a table, with clip_uri, stream_id, mos and ci. Paths are relative to the table. Raises
    ValueError where a column is missing. stated: the scale, where it was given beside the table.
    """
    columns, rows = read_table(table)
    path_column = next((name for name in PATH_COLUMNS if name in columns), None)
    rated = [name for name in columns if is_rating_column(name)]
    rated = [name for name in rated if name.startswith("mos")] or rated
    if path_column is None or not rated:
        raise ValueError(f"{table}: its columns are {columns}; needed are mos and one of {PATH_COLUMNS}")
    if len(rated) > 1:
        raise ValueError(f"{table}: {' and '.join(rated)} are both ratings; leave one of these columns")
    try:
        scale = stated or scale_of_column(rated[0])
    except ValueError as error:
        raise ValueError(f"{table}: {error}") from None
    if scale is None and any(marks <= set(columns) for marks in OWN_COLUMNS):
        scale = POINTS
    content_column = next((name for name in CONTENT_COLUMNS if name in columns), None)
    for number, row in rows:
        path = _local(row[path_column].strip(), table.parent)
        named = "" if content_column is None else row[content_column].strip()
        content = unicodedata.normalize("NFC", named) or path.stem
        split, ci = row.get("split", ""), row.get("ci", "")
        yield _Claim(f"{table}, line {number}", path, row[rated[0]], content, split, ci, scale)


def _check_scale(claims: Sequence[_Claim], source: Path) -> None:
    """Raise ValueError where the source does not say the scale of rows that look like another one than points."""
    unknown = [_number(claim.mos) for claim in claims if claim.scale is None]
    if asked := question([mos for mos in unknown if mos is not None]):
        raise ValueError(f"{source}: {asked}")


def _in_points(claim: _Claim, stated: Scale | None) -> _Claim:
    """The row with its ratings in points; texts that are no numbers stay as they are."""
    scale, mos, ci = stated or claim.scale or POINTS, _number(claim.mos), _number(claim.ci)
    if scale == POINTS or mos is None:
        return claim
    return replace(claim, mos=repr(scale.points(mos)), ci=claim.ci if ci is None else repr(scale.width(ci)))


def _name_and_number(line: str) -> tuple[str, str]:
    """The first two fields of a line with semicolons, tabs or commas; in other lines the text before and after the last space."""
    # A comma beside semicolons, tabs or a space and digits is a decimal comma.
    decimal_comma = re.fullmatch(r"\S+\s+\d+,\d+", line.strip())
    separator = next((separator for separator in ";\t" if separator in line), "\0" if decimal_comma else ",")
    fields = [field.strip() for field in line.split(separator)]
    if len(fields) == 1:
        fields = line.rsplit(None, 1)
    return (fields[0], fields[1]) if len(fields) > 1 else (line.strip(), "")


def _video(path: Path) -> Path:
    """The file of a labels file's row, also where the row names it without its ending."""
    if path.exists() or path.suffix in VIDEO_ENDINGS:
        return path
    return next(
        (path.with_name(path.name + ending) for ending in VIDEO_ENDINGS if path.with_name(path.name + ending).exists()), path
    )


def _local(text: str, folder: Path) -> Path:
    try:
        parts = urlsplit(text)
    except ValueError:  # no address: a name that looks like one of IPv6
        return folder / text
    return Path(unquote(parts.path)) if parts.scheme == "file" else folder / text


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for a file
        return False


def _checked(claims: Sequence[_Claim], seed: int) -> RatedSet:
    """The usable rows as clips, and the others with the reason why they were dropped."""
    with ThreadPoolExecutor(8) as pool:
        # Threads, because opening files mostly waits for the disk.
        verdicts = list(pool.map(_fault_or_digest, claims))
    clips: list[RatedClip] = []
    dropped: list[Dropped] = []
    seen: set[str] = set()
    contents, named = [claim.content for claim in claims], [_named_split(claim) for claim in claims]
    split_of = choose_splits(contents, named, [digest for _, digest in verdicts], seed)
    for claim, own_split, (fault, digest) in zip(claims, named, verdicts, strict=True):
        split = split_of[claim.content]
        if not fault and digest in seen:
            fault = "the same clip is there twice"
        elif not fault and own_split not in ("", split):
            fault = "its content is in a later split as well, and no person may be in two"
        if fault:
            # Paths are relative to their table: where the file was looked for says what is wrong with them.
            dropped.append(Dropped(f"{claim.where}: {claim.path}" if fault == MISSING else claim.where, fault))
            continue
        seen.add(digest)
        clips.append(RatedClip(claim.path, _number(claim.mos) or 0.0, claim.content, split, _number(claim.ci)))
    return RatedSet(clips, dropped)


def _named_split(claim: _Claim) -> str:
    """The split that the source names for a row, '' where it names none that is known."""
    return SPLIT_NAMES.get(claim.split.strip().lower(), "")


def _fault_or_digest(claim: _Claim) -> tuple[str, str]:
    """(why the row cannot be used, or empty; what identifies its clip, or empty)."""
    mos = _number(claim.mos)
    if mos is None:
        return "its MOS is no number", ""
    if not 0 <= mos <= 100:
        return "its MOS is outside 0-100, or outside its scale", ""
    if claim.ci.strip() and _number(claim.ci) is None:
        return "its ci is no number", ""
    if claim.split.strip() and not _named_split(claim):
        return f"its split is none of {', '.join(SPLIT_NAMES)}", ""
    if not _is_there(claim.path):
        return MISSING, ""
    if claim.path.suffix == ".yuv":
        command = "ffmpeg -f rawvideo -pix_fmt yuv420p -s 512x512 -r 25 -i NAME.yuv -c:v ffv1 NAME.mkv"
        return f"raw planes do not say their size: put them into a container, {command}", ""
    try:
        with open_video(claim.path):
            pass
    except MediaError as error:
        return f"unreadable: {error.reason}", ""
    return "", clip_digest(claim.path)


def _number(text: str) -> float | None:
    try:
        value = float(number_of(text))
    except ValueError:
        return None
    return value if np.isfinite(value) else None
