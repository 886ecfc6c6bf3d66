"""Where a model is: in the registry, in the package, or in a directory. No torch here."""

from __future__ import annotations

from pathlib import Path

from scorer.errors import ModelError
from scorer.registry import NAME, Registry, hashed
from scorer.spec import ModelId

SHIPPED = {"nano": Path(__file__).with_name("nano")}
"""Directories of the models in the package, by name."""


def find_model(model: str, registry: Registry | None = None) -> tuple[Path, ModelId]:
    """The directory, name and version of a model.

    model: in this order, `name@version` in the registry; a name with a current version in the registry; the name of a shipped
    model; a directory. Raises `ModelError` where it is none of them.
    """
    name, pinned, version = model.partition("@")
    if pinned and not Path(model).is_dir():
        if registry is None:
            raise ModelError(f"model {model!r}: there is no registry to take it from: set FVQ_REGISTRY")
        return registry.fetch(name, version), ModelId(name, version)
    if registry is not None and NAME.fullmatch(model) and (current := registry.current(model)):
        return registry.fetch(model, current), ModelId(model, current)
    directory = SHIPPED.get(model, Path(model))
    if not directory.is_dir():
        raise ModelError(
            f"model {model!r}: there is no such directory, no version of it in the registry, and the shipped models are: "
            + ", ".join(SHIPPED)
        )
    return directory, ModelId(model if model in SHIPPED else directory.name, version_of(directory))


def version_of(directory: Path) -> str:
    """A hash of the weights in a model directory: the version of a model that is in no registry."""
    return hashed(*sorted(directory.glob("*.safetensors")))[:12]
