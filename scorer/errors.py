"""The errors that a user can act on which `scorer` and `training` raise, and what an error says of its cause."""

import errno
from collections.abc import Iterator


class FvqError(Exception):
    """An error whose message a user can act on.

    reason: one sentence for people; it is what the dead letter and the command line show.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SettingsError(FvqError):
    """A setting, a policy or an option is wrong. path: its name as the user wrote it."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


OWN_FAULTS = frozenset({"setup", "stopped"})
"""Kinds of `MediaError` that say nothing about the media: no child process can start, what was fetched cannot be written, or this
process ends. The same media may be read later."""


class MediaError(FvqError):
    """The media cannot be fetched, opened or decoded.

    kind: a stable word for machines, e.g. ``no-video``, ``empty``, ``timeout``, ``memory``, ``refused``.
    """

    def __init__(self, reason: str, kind: str = "undecodable") -> None:
        super().__init__(reason)
        self.kind = kind


class ModelError(FvqError):
    """A model directory is missing, incomplete, of another architecture, or made for another sampler."""


class ScorerError(FvqError):
    """The scorer cannot answer now, and not because of the clips. retry_after: seconds after which to try again."""

    def __init__(self, reason: str, retry_after: float = 0.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class SpecChangedError(FvqError):
    """From now on the scorer takes clips that are sampled by another specification, its `spec`. Sample the clips again."""


ABOUT_THE_PATH = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Numbers of OSErrors that come again each time: the path is not of a file. Libraries raise OSErrors of their own without one."""

NO_MEMORY = ("can't allocate memory", "bad_alloc", "Failed to allocate memory")
"""What torch on a CPU and onnxruntime say where there is none left; they have no errors of their own for that."""


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it comes from."""
    while error is not None:
        yield error
        error = error.__cause__


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error says, or comes from one that says, that the machine or its GPU has no memory left."""
    return any(
        isinstance(cause, MemoryError)
        # torch's error of a GPU, by its name, since a model with a graph needs no torch.
        or type(cause).__name__ == "OutOfMemoryError"
        or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM)
        or any(words in str(cause) for words in NO_MEMORY)
        for cause in _causes(error)
    )


def cannot_be_read_now(error: BaseException | None) -> bool:
    """Whether an error comes from an OSError that may pass: too many open files, a share that does not answer."""
    return any(isinstance(cause, OSError) and cause.errno not in ABOUT_THE_PATH for cause in _causes(error))


def in_own_words(message: str) -> str:
    """What pydantic says of a wrong value, as this program says it: `must be greater than 0`."""
    return message.removeprefix("Value error, ").replace("Input should be", "must be").replace("String should have", "must have")
