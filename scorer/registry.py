"""The registry of models: immutable versions, one of which is current, in a folder or in an object store.

    ROOT/NAME/versions/VERSION/...          the model's files
    ROOT/NAME/versions/VERSION/manifest.json    their digests and where they come from; written last
    ROOT/NAME/current.json                  the version that is served, and those before it

A version without a manifest is not there: what a killed upload left is overwritten by the next. `current.json` is replaced
in one piece, so that a reader sees the old one or the new one. No torch here: the command line reads it too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import fsspec
from fsspec.implementations.local import LocalFileSystem

from scorer.errors import ModelError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What names and versions are made of: they become folders."""

MANIFEST = "manifest.json"
KEPT_BEFORE = 50
"""Versions that `current.json` remembers for going back."""


@dataclass(frozen=True)
class Manifest:
    """A version. files: name -> SHA-256; created: UTC, ISO 8601; about: recipe, metrics and gate as the promoter gave them."""

    name: str
    version: str
    created: str
    files: dict[str, str]
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: bytes, where: str) -> Self:
        """From JSON; raises `ModelError` that names the place."""
        try:
            made = cls(**json.loads(text))
            right = all(NAME.fullmatch(name) and isinstance(digest, str) for name, digest in made.files.items())
        except (ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{where}: not a manifest: {error}") from error
        if not right:
            raise ModelError(f"{where}: it names a file that no version has")
        return made


class Registry:
    """Versions of models under one root.

    url: a folder, or anything that fsspec opens (s3://..., gs://...). cache: local folder for versions of a remote one.
    Everything raises `ModelError` for what is not there or wrong, and OSError where the store does not answer.
    """

    def __init__(self, url: str, cache: Path) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)
        self._cache = cache
        self.url = url

    def names(self) -> list[str]:
        """Models that have a version."""
        return [name for name in self._folders(self._root) if self.versions(name)]

    def versions(self, name: str) -> list[Manifest]:
        """All versions of a model, oldest first."""
        folder = f"{self._root}/{_checked(name)}/versions"
        found = [self._manifest(name, version) for version in self._folders(folder) if NAME.fullmatch(version)]
        return sorted((one for one in found if one), key=lambda one: (one.created, one.version))

    def manifest(self, name: str, version: str) -> Manifest:
        """One version's."""
        found = self._manifest(_checked(name), _checked(version))
        if found is None:
            raise ModelError(f"registry {self.url}: there is no {name}@{version}")
        return found

    def current(self, name: str) -> str | None:
        """The version that is served; None where nothing was promoted, or all of it was taken back."""
        history = self._history(_checked(name))
        return history[-1] if history else None

    def publish(self, name: str, version: str, directory: Path, about: dict[str, Any] | None = None) -> Manifest:
        """Copy a model directory's files (no folders) as a version; the same again changes nothing."""
        folder = self._folder(name, version)
        sources = {file.name: file for file in sorted(directory.iterdir()) if file.is_file() and not file.is_symlink()}
        # A version that was fetched from a registry has the other's manifest, which is no file of the model.
        wanted = {file: path for file, path in sources.items() if NAME.fullmatch(file) and file != MANIFEST}
        digests = {file: _digest(path.read_bytes()) for file, path in wanted.items()}
        if present := self._manifest(name, version):
            if present.files != digests:
                raise ModelError(
                    f"registry {self.url}: {name}@{version} is there already with other files; versions never change"
                )
            return present
        for file in digests:
            self._write(f"{folder}/{file}", wanted[file].read_bytes())
        made = Manifest(name, version, datetime.now(UTC).isoformat(timespec="seconds"), digests, about or {})
        self._write(f"{folder}/{MANIFEST}", json.dumps(asdict(made), indent=1).encode())
        return made

    def promote(self, name: str, version: str) -> None:
        """Make a version the current one."""
        self.manifest(name, version)
        history = self._history(name)
        if not history or history[-1] != version:
            self._set_history(name, [*history, version])

    def rollback(self, name: str) -> str | None:
        """Make the version before current again; returns it, None where there was none before and the shipped one serves."""
        history = self._history(_checked(name))
        if not history:
            raise ModelError(f"registry {self.url}: no version of {name} is current, so there is nothing to take back")
        self._set_history(name, history[:-1])
        return history[-2] if len(history) > 1 else None

    def fetch(self, name: str, version: str) -> Path:
        """A local folder with the version's files, whose digests were compared with the manifest."""
        manifest = self.manifest(name, version)
        folder = self._folder(name, version)
        if isinstance(self._files, LocalFileSystem):
            local = Path(folder)
        else:
            local = self._cache / name / version
            if not (local / MANIFEST).exists():
                self._download(manifest, folder, local)
        for file, digest in manifest.files.items():
            path = local / file
            if not path.is_file() or _digest(path.read_bytes()) != digest:
                raise ModelError(f"registry {self.url}: {file} of {name}@{version} is missing or is not what was published")
        return local

    def _download(self, manifest: Manifest, folder: str, local: Path) -> None:
        part = local.with_name(f".{local.name}.{os.getpid()}")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for file in (*manifest.files, MANIFEST):
            (part / file).write_bytes(self._files.cat_file(f"{folder}/{file}"))
        shutil.rmtree(local, ignore_errors=True)
        try:
            part.rename(local)
        except OSError:
            # Another process was faster, with the same files.
            shutil.rmtree(part, ignore_errors=True)

    def _folder(self, name: str, version: str) -> str:
        return f"{self._root}/{_checked(name)}/versions/{_checked(version)}"

    def _folders(self, folder: str) -> list[str]:
        try:
            # Stores keep listings for a while; another process may have added to this one.
            self._files.invalidate_cache()
            return sorted(Path(one["name"]).name for one in self._files.ls(folder, detail=True) if one["type"] == "directory")
        except FileNotFoundError:
            return []

    def _manifest(self, name: str, version: str) -> Manifest | None:
        where = f"{self._folder(name, version)}/{MANIFEST}"
        text = self._read(where)
        return None if text is None else Manifest.parse(text, where)

    def _history(self, name: str) -> list[str]:
        where = f"{self._root}/{name}/current.json"
        text = self._read(where)
        if text is None:
            return []
        try:
            versions = [str(version) for version in json.loads(text)["versions"]]
        except (ValueError, TypeError, KeyError) as error:
            raise ModelError(f"{where}: not a list of versions: {error!r}") from error
        return [_checked(version) for version in versions]

    def _set_history(self, name: str, versions: list[str]) -> None:
        kept = versions[-KEPT_BEFORE:]
        self._write(f"{self._root}/{name}/current.json", json.dumps({"versions": kept}, indent=1).encode())

    def _read(self, path: str) -> bytes | None:
        try:
            data: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return None
        return data

    def _write(self, path: str, data: bytes) -> None:
        """In one piece: object stores put whole objects; in a folder a rename does it."""
        if not isinstance(self._files, LocalFileSystem):
            self._files.pipe_file(path, data)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)


def _checked(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ModelError(f"{name!r} is no name of a model or version: letters, digits, '.', '_' and '-', at most 64")
    return name


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
