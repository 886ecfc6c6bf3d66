"""The errors of the way from a clip to a score."""

import errno


class FvqError(Exception):
    """An error whose message a user can act on.

    reason: one sentence for people; it is what the dead letter and the command line show.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
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


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error says, or comes from one that says, that the machine or its GPU has no memory left."""
    while error is not None:
        # torch's error of a GPU, by its name, since a model with a graph needs no torch.
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if any(words in str(error) for words in NO_MEMORY):
            return True
        error = error.__cause__
    return False


def cannot_be_read_now(error: BaseException | None) -> bool:
    """Whether an error comes from an OSError that may pass: too many open files, a share that does not answer."""
    while error is not None:
        if isinstance(error, OSError) and error.errno not in ABOUT_THE_PATH:
            return True
        error = error.__cause__
    return False
