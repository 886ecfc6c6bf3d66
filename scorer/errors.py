"""The errors of the way from a clip to a score. Each reason is a sentence that a user can act on."""


class MediaError(Exception):
    """The media cannot be fetched, opened or decoded.

    reason: one sentence for people; it is what the dead letter and `fvq score` show.
    kind: a stable word for machines, e.g. ``no-video``, ``empty``, ``timeout``, ``memory``, ``refused``.
    """

    def __init__(self, reason: str, kind: str = "undecodable") -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind = kind

    def __reduce__(self) -> tuple[type["MediaError"], tuple[str, str]]:
        # The sampling children hand it to the parent; the default would lose `kind`.
        return (type(self), (self.reason, self.kind))


class ModelError(Exception):
    """A model directory is missing, incomplete, of another architecture, or made for another sampler."""
