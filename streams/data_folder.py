"""The data folder, `FVQ_DATA_DIR`: it is made where it is missing, and processes have folders of their own in it."""

from __future__ import annotations

from pathlib import Path

from scorer.own_folder import OwnFolder
from streams.errors import SettingsError


def make_data_folder(data: Path, name: str = "") -> None:
    """Make the data folder, or the one of this name in it, where it is missing. Raises `SettingsError` where that fails."""
    try:
        (data / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError("FVQ_DATA_DIR", f"{data / name} cannot be created: {error.strerror}") from error


def own_folder(data: Path, name: str) -> OwnFolder:
    """This process's folder in the one of this name in the data folder. Raises `SettingsError` where it cannot be made."""
    parent = data.absolute() / name
    try:
        return OwnFolder(parent)
    except OSError as error:
        raise SettingsError("FVQ_DATA_DIR", f"{parent} cannot be written to: {error.strerror}") from error
