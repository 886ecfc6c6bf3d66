"""The registry of models: immutable versions, one of which is current, in a folder or in an object store.

    ROOT/NAME/versions/VERSION/...          the model's files
    ROOT/NAME/versions/VERSION/manifest.json    their digests and where they come from; written last
    ROOT/NAME/current.json                  the versions that were current, oldest first; the last is current now

A version without a manifest does not exist: what a killed upload left is overwritten or removed by the next upload.
`current.json` is replaced as a whole, so that a reader sees the old one or the new one. In a folder, one process
of the machine at a time replaces it; object stores have no locks.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from scorer.errors import ModelError
from scorer.model_files import MAX_FILES, MAX_MODEL_BYTES, check_file, largest_size
from scorer.own_folder import OwnFolder, locked
from scorer.storage import BLOCK_BYTES, Storage

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What names of models, versions and files match: they become parts of paths, so no slash and no dot at the start."""

MANIFEST = "manifest.json"
CURRENT = "current.json"
MAX_MANIFEST_BYTES = 4 << 20
"""Of a manifest or a `current.json`: digests of `MAX_FILES` files, and what the promoter tells about the version."""

REMEDY = "put it back from a back-up, or roll back and promote the model's directory again"
"""What to do about a manifest that is damaged."""

KEPT_BEFORE = 50
"""Versions that `current.json` remembers for `rollback`."""

PART_SECONDS = 86400.0
"""So long nobody writes to a file that is being uploaded: the clocks of several machines may differ."""


@dataclass(frozen=True)
class Manifest:
    """A version. files: name -> SHA-256; created: UTC, ISO 8601; about: recipe, metrics and gate as the promoter gave them.

    sizes: name -> bytes; empty in manifests of old versions.
    """

    name: str
    version: str
    created: str
    files: dict[str, str]
    about: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: bytes, where: str) -> Self:
        """A manifest from its JSON. where: the path that errors name. Raises `ModelError` where it is no manifest."""
        try:
            values = json.loads(text)
            # Without what a later version of this program adds.
            manifest = cls(**{name: value for name, value in values.items() if name in cls.__dataclass_fields__})
            valid = all(NAME.fullmatch(name) and isinstance(digest, str) for name, digest in manifest.files.items())
            valid = valid and MANIFEST not in manifest.files
            sized = all(type(size) is int and 0 <= size <= largest_size(name) for name, size in manifest.sizes.items())
            texts = (manifest.name, manifest.version, manifest.created)
            if not all(isinstance(text, str) for text in texts) or not isinstance(manifest.about, dict):
                raise TypeError("name, version and created must be text, about an object")
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(f"{where}: not a manifest: {error}; {REMEDY}") from error
        if not valid:
            raise ModelError(f"{where}: a file name or digest in it is not valid")
        if len(manifest.files) > MAX_FILES or not sized or sum(manifest.sizes.values()) > MAX_MODEL_BYTES:
            raise ModelError(f"{where}: it has more than {MAX_FILES} files, or files that are too large to load")
        return manifest

    def most_bytes(self, file: str) -> int:
        """How many bytes a file may have: as many as were published, or as any file of its kind."""
        return self.sizes.get(file, largest_size(file))


class Registry:
    """Versions of models under one root.

    url: see `Storage`. cache: local folder for versions of a remote registry. shown: how messages name the registry, where the
    URL has a password in it. Every method raises `ModelError` for what is missing or wrong, and OSError where the store does
    not answer.
    """

    def __init__(self, url: str, cache: Path, shown: str = "") -> None:
        self._storage = Storage(url)
        self._cache = cache
        self.shown = shown or url

    def names(self) -> list[str]:
        """Models of which a version was uploaded, if only in part."""
        return [name for name in self._folders(self._storage.root) if NAME.fullmatch(name) and self._version_folders(name)]

    def versions(self, name: str, problems: dict[str, str] | None = None) -> list[Manifest]:
        """All versions of a model, oldest first. problems: gets the versions whose manifests cannot be read, and why; without it
        the first of them is raised.
        """
        manifests = []
        for version in self._version_folders(name):
            try:
                manifest = self._manifest(name, version)
            except (ModelError, OSError) as error:
                if problems is None:
                    raise
                problems[version] = str(error)
                continue
            if manifest is not None:
                manifests.append(manifest)
        return sorted(manifests, key=lambda manifest: (manifest.created, manifest.version))

    def manifest(self, name: str, version: str) -> Manifest:
        """The manifest of one version."""
        manifest = self._manifest(name, version)
        if manifest is None:
            raise ModelError(f"registry {self.shown}: there is no {name}@{version}")
        return manifest

    def current(self, name: str) -> str | None:
        """The version that is served; None where nothing was promoted, or every promotion was rolled back."""
        history = self._history(name)
        return history[-1] if history else None

    def publish(self, name: str, version: str, directory: Path, about: dict[str, Any] | None = None) -> Manifest:
        """Copy the files of a model directory, without its folders and links, as a version.

        A version that exists is left as it is; raises `ModelError` where its files are not the same. One whose manifest is
        damaged is written again.
        """
        folder = self._folder(name, version)
        paths = {path.name: path for path in sorted(directory.iterdir()) if path.is_file() and not path.is_symlink()}
        # A directory that was fetched from another registry holds that registry's manifest, which is no file of the model.
        paths = {file: path for file, path in paths.items() if NAME.fullmatch(file) and file != MANIFEST}
        digests = {file: hashed(path) for file, path in paths.items()}
        try:
            published = self._manifest(name, version)
        except ModelError:
            published = None
        if published is not None:
            if published.files != digests:
                other = ", ".join(sorted({file for file, _ in published.files.items() ^ digests.items()}))
                raise ModelError(
                    f"registry {self.shown}: {name}@{version} exists already with other files ({other}); "
                    f"versions never change: to let that one serve, promote {self.shown}/{name}/versions/{version}"
                )
            return published
        sizes = {file: path.stat().st_size for file, path in paths.items()}
        manifest = Manifest(name, version, datetime.now(UTC).isoformat(timespec="seconds"), digests, about or {}, sizes)
        text = json.dumps(asdict(manifest), indent=1).encode()
        Manifest.parse(text, f"model {directory}")  # what no worker would take is not published
        self._remove_parts(name)
        for file, path in paths.items():
            self._storage.put(path, f"{folder}/{file}")
        self._write(f"{folder}/{MANIFEST}", text)
        return manifest

    def _remove_parts(self, name: str) -> None:
        """Remove what killed uploads of a model left."""
        folder, before = f"{self._storage.root}/{name}", time.time() - PART_SECONDS
        for place in (folder, *(f"{folder}/versions/{version}" for version in self._version_folders(name))):
            self._storage.remove_parts(place, before)

    def promote(self, name: str, version: str, instead_of: str | None = "") -> None:
        """Make a version the current one. instead_of: the version that must be current until then, None for none of them, '' for
        whichever.
        """
        self.manifest(name, version)
        with self._alone(name):
            history = self._history(name)
            current = history[-1] if history else None
            if current == version:
                return
            if instead_of not in ("", current):
                serves = "the shipped model" if current is None else f"{name}@{current}"
                raise ModelError(f"registry {self.shown}: {serves} serves by now: promote {name}@{version} once more")
            self._set_history(name, [*history, version])

    def rollback(self, name: str) -> str | None:
        """Undo the last promotion; returns the version that is current then, None where the shipped model serves again."""
        with self._alone(name):
            history = self._history(name)
            if not history:
                raise ModelError(f"registry {self.shown}: no version of {name} is current, so there is nothing to roll back")
            if len(history) > 1:
                self.manifest(name, history[-2])  # raises where it is gone
            self._set_history(name, history[:-1])
            return history[-2] if len(history) > 1 else None

    def fetch(self, name: str, version: str) -> Path:
        """A local folder with the version's files, each checked against its digest in the manifest."""
        manifest = self.manifest(name, version)
        folder = self._folder(name, version)
        if self._storage.is_local:
            self._check(Path(folder), manifest)
            return Path(folder)
        local = self._cache / name / version
        try:
            self._check(local, manifest)
        except ModelError:
            # Not there yet, or a power failure has cut it off: the registry has it whole.
            self._download(manifest, folder, local)
            self._check(local, manifest)
        return local

    def _check(self, local: Path, manifest: Manifest) -> None:
        """Raise `ModelError` where a folder does not have a version's files as they were published, or has others."""
        for file, digest in manifest.files.items():
            path = local / file
            if not path.is_file() or hashed(path) != digest:
                raise ModelError(f"{self._place(file, manifest)} is missing or is not what was published")
        # Loading takes whatever it finds in the folder: weights of more parts, or an adapter's configuration.
        surplus = sorted(path.name for path in local.iterdir() if NAME.fullmatch(path.name)) if local.is_dir() else []
        if surplus := [file for file in surplus if file not in manifest.files and file != MANIFEST]:
            raise ModelError(f"{self._place(surplus[0], manifest)} was not published with it")

    def _download(self, manifest: Manifest, folder: str, local: Path) -> None:
        """Download a version's files, and no other. Nothing of them is left where one is too large or not as published."""
        own = OwnFolder(local.parent, f".{local.name}.")
        part = own.path
        try:
            left = MAX_MODEL_BYTES
            for file in manifest.files:
                left -= self._download_file(manifest, folder, file, part, left)
            (part / MANIFEST).write_text(json.dumps(asdict(manifest), indent=1))
            if not self._put_in_place(part, local, manifest):
                shutil.rmtree(local, ignore_errors=True)
                self._put_in_place(part, local, manifest)
        finally:
            own.delete()

    def _put_in_place(self, part: Path, local: Path, manifest: Manifest) -> bool:
        """Whether a version is in its place: as it was downloaded here, or by a faster process, which may read it by now."""
        try:
            part.rename(local)  # fails where a folder with files is there
        except OSError:
            try:
                self._check(local, manifest)
            except ModelError:
                return False
        return True

    def _download_file(self, manifest: Manifest, folder: str, file: str, part: Path, left: int) -> int:
        """Download one file into the folder `part`; returns its size. left: bytes that it may have at most."""
        most = min(left, manifest.most_bytes(file))
        digest, size = hashlib.sha256(), 0
        with (part / file).open("wb") as target:
            for block in self._storage.blocks(f"{folder}/{file}"):
                size += len(block)
                if size > most:
                    raise ModelError(f"{self._place(file, manifest)} has more than {most} bytes")
                digest.update(block)
                target.write(block)
        if digest.hexdigest() != manifest.files[file]:
            raise ModelError(f"{self._place(file, manifest)} is missing or is not what was published")
        return size

    def _place(self, file: str, manifest: Manifest) -> str:
        return f"registry {self.shown}: {file} of {manifest.name}@{manifest.version}"

    def _read(self, path: str) -> bytes | None:
        """The bytes of a manifest or a `current.json`; None where there is no such file."""
        data = b""
        try:
            for block in self._storage.blocks(path):
                data += block
                if len(data) > MAX_MANIFEST_BYTES:
                    raise ModelError(f"{path} has more than {MAX_MANIFEST_BYTES} bytes")
        except FileNotFoundError:
            return None
        return data

    def _folder(self, name: str, version: str) -> str:
        return f"{self._storage.root}/{_checked(name)}/versions/{_checked(version)}"

    def _version_folders(self, name: str) -> list[str]:
        folder = f"{self._storage.root}/{_checked(name)}/versions"
        return [version for version in self._folders(folder) if NAME.fullmatch(version)]

    def _folders(self, folder: str) -> list[str]:
        """Names of the folders in a folder, sorted."""
        entries = self._storage.entries(folder)
        return sorted(Path(entry["name"]).name for entry in entries if entry["type"] == "directory")

    def _manifest(self, name: str, version: str) -> Manifest | None:
        path = f"{self._folder(name, version)}/{MANIFEST}"
        text = self._read(path)
        return None if text is None else Manifest.parse(text, path)

    def _history(self, name: str) -> list[str]:
        """The versions that `current.json` holds, oldest first."""
        path = f"{self._storage.root}/{_checked(name)}/{CURRENT}"
        text = self._read(path)
        if text is None:
            return []
        try:
            versions = [str(version) for version in json.loads(text)["versions"]]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ModelError(
                f"{path}: not a list of versions: {error!r}; put it back from a back-up, or delete it and promote a model again"
            ) from error
        return [_checked(version) for version in versions]

    def _alone(self, name: str) -> AbstractContextManager[None]:
        """One process at a time changes a model's `current.json`: none loses what another one has written since it read."""
        folder = Path(self._storage.root, _checked(name))
        return locked(folder) if self._storage.is_local and folder.is_dir() else nullcontext()

    def _set_history(self, name: str, versions: list[str]) -> None:
        text = json.dumps({"versions": versions[-KEPT_BEFORE:]}, indent=1)
        self._write(f"{self._storage.root}/{_checked(name)}/{CURRENT}", text.encode())

    def _write(self, path: str, data: bytes) -> None:
        # With fsync: a machine that loses power must not leave a manifest whose files are not on the disk.
        self._storage.write(path, data, fsync=True)


def _checked(name: str) -> str:
    """The name; raises `ModelError` where it is not a valid name of a model or version."""
    if not NAME.fullmatch(name):
        raise ModelError(f"{name!r} is not a valid name of a model or version: use letters, digits, '.', '_' and '-', at most 64")
    return name


def hashed(*paths: Path) -> str:
    """SHA-256 of one or more files in turn, read in blocks. Raises `ModelError` where a file is not one to load."""
    digest = hashlib.sha256()
    for path in paths:
        check_file(path)
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()
