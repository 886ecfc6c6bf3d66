"""The files of a model directory before anything of them is loaded: a directory may come from anyone. No torch here.

What is loaded later allocates what the configuration asks for, so what it asks for is held against bounds first.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from scorer.errors import ModelError

MAX_FILES = 1000
MAX_MODEL_BYTES = 1 << 37
"""Of all files of a model together: 128 GiB. The largest bases have some 80 GB in bf16."""

MAX_CONFIGURATION_BYTES = 1 << 20
"""Of each JSON file that is a configuration."""

MAX_TEXT_BYTES = 64 << 20
"""Of any other file that holds no weights: tokenizers have some 20 MB."""

MAX_GRAPH_BYTES = 1 << 29
"""Of an exported graph: only small models have one."""

TEXTS = (".json", ".txt", ".jinja", ".model", ".md", "")
"""Endings of files that hold no weights."""

CONFIGURATIONS = ("config.json", "sampler.json", "base.json", "adapter_config.json", "tokenizer_config.json")
MAX_LAYERS, MAX_WIDTH, MAX_WORDS = 512, 1 << 17, 1 << 21
"""Largest numbers of layers, of neurons beside each other, and of a vocabulary: several times those of the largest models."""

FORBIDDEN = (
    "attn_implementation",
    "_attn_implementation",
    "quantization_config",
    "checkpoint_path",
    "pretrained",
    "use_pretrained_backbone",
)
"""Keys of configurations by which transformers or timm load code or weights that are no file of the model."""

MAX_BLOCK_BYTES = 1 << 20
"""Holes in a file that are larger than this, and than half of the file, make it a sparse one."""

MATCH_SECONDS = 10.0
"""How long the patterns of an adapter may take to be matched with the names of all modules."""

_MATCH = """
import json, re, sys
patterns, names = json.load(sys.stdin)
for pattern in patterns:
    for name in names:
        re.fullmatch(pattern, name), re.match(rf"(.*\\.)?({pattern})$", name)
"""
"""Matches as peft does: the targets with the whole name, the others with its end."""


def check_model_files(directory: Path) -> None:
    """Raise `ModelError` where a file of a model directory is not one to load: no regular file, too large, out of bounds."""
    try:
        entries = [entry for entry, _ in zip(os.scandir(directory), range(MAX_FILES + 1), strict=False)]
        if len(entries) > MAX_FILES:
            raise ModelError(f"model {directory}: it has more than {MAX_FILES} files")
        size = sum(check_file(Path(entry.path)) for entry in entries if not entry.is_dir())
        if size > MAX_MODEL_BYTES:
            raise ModelError(f"model {directory}: its files have {size} bytes, more than {MAX_MODEL_BYTES}")
    except OSError as error:
        raise ModelError(f"model {directory}: {error}") from error


def share_weights(directory: Path) -> None:
    """Let whoever may read a model's configuration read its weights: safetensors writes them for their owner alone."""
    mode = stat.S_IMODE((directory / "config.json").stat().st_mode)
    for weights in directory.glob("*.safetensors"):
        weights.chmod(mode)


def check_patterns(patterns: Sequence[str], names: Sequence[str]) -> None:
    """Raise `ModelError` where regular expressions of an adapter do not end on the names of the modules, or are none.

    In a child process, because a regular expression cannot be stopped.
    """
    command = [sys.executable, "-I", "-S", "-c", _MATCH]
    content = json.dumps([list(patterns), list(names)]).encode()
    try:
        done = subprocess.run(command, input=content, capture_output=True, timeout=MATCH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ModelError(f"the patterns of its modules take more than {MATCH_SECONDS:g} s to be matched") from None
    if done.returncode:
        raise ModelError("a pattern of its modules is not a regular expression")


def check_file(path: Path) -> int:
    """The size of one file of a model directory, bytes.

    Raises `ModelError` where it is not one to load, OSError where it cannot be looked at.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # A pipe would be waited for, and a device has no end.
        raise ModelError(f"model {path.parent}: {path.name} is no regular file")
    if status.st_size > (largest := largest_size(path.name)):
        raise ModelError(f"model {path.parent}: {path.name} has {status.st_size} bytes, more than {largest}")
    if _data_bytes(path, status.st_size) < min(status.st_size // 2, status.st_size - MAX_BLOCK_BYTES):
        raise ModelError(f"model {path.parent}: {path.name} is a sparse file: most of it was never written")
    if path.name in CONFIGURATIONS:
        _check_configuration(path)
    return status.st_size


def largest_size(name: str) -> int:
    """How large a model's file of this name may be, bytes."""
    if name in CONFIGURATIONS:
        return MAX_CONFIGURATION_BYTES
    if Path(name).suffix == ".onnx":
        return MAX_GRAPH_BYTES
    return MAX_TEXT_BYTES if Path(name).suffix in TEXTS else MAX_MODEL_BYTES


def _data_bytes(path: Path, size: int) -> int:
    """Bytes of a file that are not in holes, as far as the file system says."""
    written = at = 0
    with path.open("rb") as file:
        while at < size:
            try:
                data = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break  # nothing but a hole up to the end
            at = os.lseek(file.fileno(), data, os.SEEK_HOLE)
            written += at - data
    return written


def _check_configuration(path: Path) -> None:
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"model {path.parent}: {path.name} is not JSON: {error}") from error
    for name, value in _values(content):
        if name in FORBIDDEN and value not in (None, False, "eager", "sdpa"):
            raise ModelError(f"model {path.parent}: {path.name}: {name} is set, and what it names is not loaded")
        if name == "architecture" and not (isinstance(value, str) and value.isidentifier()):
            # timm takes what has a colon as the address of a hub or a folder.
            raise ModelError(f"model {path.parent}: {path.name}: architecture is no name of one")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            largest = _largest(name.lower())
            if largest is not None and abs(value) > largest:
                # A whole number of JSON has no end, and one of hundreds of digits cannot be shown as a float.
                shown = f"{value:g}" if abs(value) < 10**15 else "over 1e15"
                raise ModelError(f"model {path.parent}: {path.name}: {name} is {shown}, more than {largest}")


def _largest(name: str) -> int | None:
    """The bound of a number with this name; None for a number of which nothing is allocated."""
    if "vocab" in name:
        return MAX_WORDS
    if any(part in name for part in ("layer", "depth", "blocks", "heads", "experts")):
        return MAX_LAYERS
    # `r` is the rank of an adapter.
    if name == "r" or (any(part in name for part in ("size", "dim", "channels", "features", "width")) and "max" not in name):
        return MAX_WIDTH
    return None


def _values(content: object, name: str = "") -> Iterator[tuple[str, object]]:
    """The values in parsed JSON, each with the name of the nearest key. JSON's nesting is bounded by its reader."""
    waiting: list[tuple[str, object]] = [(name, content)]
    while waiting:
        key, value = waiting.pop()
        if key in FORBIDDEN:
            yield key, value
        elif isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, item) for item in value]
        else:
            yield key, value
