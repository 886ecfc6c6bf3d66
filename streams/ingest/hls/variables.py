"""Variables of a playlist (`EXT-X-DEFINE`), and the texts in which they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from urllib.parse import parse_qsl, urlsplit

from streams.ingest.hls.notation import ATTRIBUTE, Attributes
from streams.ingest.hls.values import PlaylistError
from streams.text import printable

MOST_SUBSTITUTED = 2**24
"""Characters that all variables of a playlist may stand for: each may name two others, so 30 of them would fill the memory."""

_VARIABLE = re.compile(r"\{\$([A-Za-z0-9_-]+)\}")


class Variables:
    """What a playlist defines. url: its address. imported: the variables of its master playlist."""

    def __init__(self, url: str, imported: Mapping[str, str]) -> None:
        self.values: dict[str, str] = {}
        self._url, self._imported = url, imported
        self._substituted = 0

    @cached_property
    def _parameters(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self._url).query, keep_blank_values=True))

    def define(self, attributes: Attributes) -> None:
        """Take an `EXT-X-DEFINE`. Raises `PlaylistError` where there is no such value, ValueError where it defines nothing."""
        if "NAME" in attributes:
            self.values.setdefault(attributes["NAME"], attributes["VALUE"])
        elif "IMPORT" in attributes:
            name = attributes["IMPORT"]
            if name not in self._imported:
                raise PlaylistError(f"the variable {printable(name)} is imported, and the master playlist does not define it")
            self.values[name] = self._imported[name]
        elif "QUERYPARAM" in attributes:
            name = attributes["QUERYPARAM"]
            if name not in self._parameters:
                raise PlaylistError(f"the variable {printable(name)} is a parameter that the playlist's address does not have")
            self.values[name] = self._parameters[name]
        else:
            raise ValueError

    def attributes(self, text: str) -> Attributes:
        """An attribute list, with the variables in its quoted values. The first of a name counts."""
        attributes = Attributes()
        for name, value in ATTRIBUTE.findall(text):
            quoted = value.startswith('"')
            attributes.setdefault(name.upper(), self.put_into(value.strip('"')) if quoted else value.strip())
        return attributes

    def put_into(self, text: str) -> str:
        """The text with what its variables stand for. Raises `PlaylistError` where one is not defined."""
        return _VARIABLE.sub(self._value_of, text)

    def _value_of(self, match: re.Match[str]) -> str:
        if match[1] not in self.values:
            raise PlaylistError(f"the variable {match[1][:100]} is not defined")
        value = self.values[match[1]]
        self._substituted += len(value)
        if self._substituted > MOST_SUBSTITUTED:
            raise PlaylistError(f"the variables stand for more than {MOST_SUBSTITUTED} characters")
        return value
