"""Reads XML from outside into elements, within limits: no document type, no entities, bounded depth and number of elements."""

from __future__ import annotations

from xml.etree.ElementTree import Element, ParseError, TreeBuilder

from defusedxml.ElementTree import DefusedXMLParser

from streams.ingest.hls.values import PlaylistError
from streams.text import printable

MOST_ELEMENTS = 100_000
"""A day of 2 s segments of different durations, for two sets of renditions."""

DEEPEST = 32
"""Levels of elements. A manifest has seven; events inside it may have some of their own."""


def root_of(body: bytes) -> Element:
    """The root element. Raises `PlaylistError` where it is no XML, or more of it than the limits allow."""
    parser = DefusedXMLParser(target=_Builder(), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(body)
        root = parser.close()
    except PlaylistError:
        raise
    except (ParseError, ValueError, LookupError) as error:  # defusedxml's refusals are ValueErrors
        begin = printable(body.lstrip(b"\xef\xbb\xbf \t\r\n")[:40].decode(errors="replace"))
        raise PlaylistError(
            f"this is no manifest: {_words_of(error)}; it begins with {begin!r}" if begin else "the answer is empty"
        ) from error
    if not isinstance(root, Element):
        raise PlaylistError("this is no manifest: it has no element")
    return root


def _words_of(error: Exception) -> str:
    if isinstance(error, ParseError):
        return f"it is no XML ({printable(str(error))[:80]})"
    return f"it has what XML from outside must not have ({type(error).__name__})"


class _Builder(TreeBuilder):
    """Builds the tree, and stops where it grows too large."""

    def __init__(self) -> None:
        super().__init__()
        self._count = self._depth = 0

    def start(self, tag: str, attributes: dict[str, str]) -> Element:
        self._count, self._depth = self._count + 1, self._depth + 1
        if self._count > MOST_ELEMENTS:
            raise PlaylistError(f"the manifest has more than {MOST_ELEMENTS} elements")
        if self._depth > DEEPEST:
            raise PlaylistError(f"the manifest has elements more than {DEEPEST} levels deep")
        return super().start(tag, attributes)

    def end(self, tag: str) -> Element:
        self._depth -= 1
        return super().end(tag)
