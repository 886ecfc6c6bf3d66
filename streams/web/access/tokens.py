"""The tokens' file: names, SHA-256 of tokens, scopes, and the labels that a token sees. The tokens themselves are not in it.

{"tokens": [{"name": "tv-1", "sha256": "...", "scopes": ["read", "media"], "labels": {"tier": "premium"}}]}
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scorer.errors import in_own_words
from scorer.own_folder import unique
from streams.errors import EventError, SettingsError

Scope = Literal["read", "ack", "rate", "media"]
SCOPES: tuple[Scope, ...] = ("read", "ack", "rate", "media")
"""read: everything but pictures and clips, which show faces: `media`. ack: acknowledge alerts. rate: rate clips."""

SETTING = "FVQ_WEB_TOKENS_FILE"
MOST_TOKENS = 10_000
LONGEST_NAME, LONGEST_TOKEN = 128, 200


class Token(BaseModel):
    """One entry of the file. labels: only streams that carry these are seen; all without any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    scopes: tuple[Scope, ...] = Field(min_length=1)
    labels: dict[str, str] = Field(default_factory=dict, max_length=32)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: list[Token] = Field(default_factory=list, max_length=MOST_TOKENS)


class Tokens:
    """The tokens of a file, which is read again when it has changed. Raises `SettingsError` where it cannot be read at first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_at = -1
        self._tokens: list[Token] = []
        self.refresh()

    def refresh(self) -> None:
        """Read the file if it has changed. Raises `SettingsError`; the tokens then stay as they were."""
        try:
            changed_at = self._path.stat().st_mtime_ns
        except OSError as error:
            raise SettingsError(SETTING, f"{self._path} cannot be read: {error.strerror}") from error
        if changed_at != self._read_at:
            self._tokens, self._read_at = read_tokens(self._path), changed_at

    def find(self, secret: str) -> Token | None:
        """The token with this secret; None where there is none."""
        if not 0 < len(secret) <= LONGEST_TOKEN:
            return None
        digest = digest_of(secret)
        holder = None
        for token in self._tokens:
            # Every entry is compared, and in constant time: the answer's time tells nothing about the file.
            if hmac.compare_digest(token.sha256, digest):
                holder = token
        return holder

    def holds(self, token: Token) -> bool:
        """Whether a token is still in the file, unchanged."""
        return token in self._tokens


def digest_of(secret: str) -> str:
    """The SHA-256 of a token, in hexadecimal digits. A token has 256 random bits, so no salt and no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file. Raises `SettingsError` where it cannot be read or has another shape."""
    try:
        return _File.model_validate_json(path.read_bytes()).tokens
    except OSError as error:
        raise SettingsError(SETTING, f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise SettingsError(SETTING, f"{path}: {EventError.of(error)}") from None


def add_token(path: Path, name: str, scopes: Sequence[Scope], labels: dict[str, str]) -> str:
    """Add a token to the file, which is made if it is missing; returns the secret, which is stored nowhere.

    Raises `SettingsError` where the name is taken.
    """
    if not 1 <= len(name) <= LONGEST_NAME:
        raise SettingsError("NAME", f"has {len(name)} characters: write at least 1, at most {LONGEST_NAME}")
    tokens = read_tokens(path) if path.exists() else []
    if any(token.name == name for token in tokens):
        raise SettingsError(SETTING, f"{path} has a token {name!r}: remove it first with `fvq web token rm`")
    secret = f"fvq_{secrets.token_urlsafe(32)}"
    try:
        token = Token(name=name, sha256=digest_of(secret), scopes=tuple(scopes), labels=labels)
    except ValidationError as error:
        raise SettingsError("NAME", in_own_words(error.errors()[0]["msg"])) from None
    _write(path, [*tokens, token])
    return secret


def remove_token(path: Path, name: str) -> None:
    """Remove a token from the file. Raises `SettingsError` where there is none of this name."""
    tokens = read_tokens(path)
    kept = [token for token in tokens if token.name != name]
    if len(kept) == len(tokens):
        raise SettingsError(SETTING, f"{path} has no token {name!r}")
    _write(path, kept)


def _write(path: Path, tokens: Sequence[Token]) -> None:
    """Replace the file, whole or not at all. A new one is its owner's alone to read; one that is there keeps its access.

    Raises `SettingsError` where this user cannot keep it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{unique()}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(_File(tokens=list(tokens)).model_dump_json(indent=1) + "\n")
            if path.exists():
                _keep_access(path, file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _keep_access(path: Path, part: int) -> None:
    """Give owner, group and mode of the tokens' file to the open one that will replace it.

    The wall often runs as another user than who keeps the tokens. Where it cannot read the file any more, it goes on with the
    tokens that it has, removed ones too. Raises `SettingsError`.
    """
    old = path.stat()
    try:
        os.fchown(part, old.st_uid, old.st_gid)
    except PermissionError:
        reason = "cannot be changed without taking it from its owner or its group: run this as root"
        raise SettingsError(SETTING, f"{path} {reason}") from None
    os.fchmod(part, stat.S_IMODE(old.st_mode))
