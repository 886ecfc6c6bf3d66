"""AMF0, the values of RTMP's commands: as much of it as an encoder sends on its way to `publish`."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from streams.errors import FvqError

Value = float | bool | str | None | dict[str, "Value"]
"""What a command has. Arrays and dates, which no encoder needs here, are read as None."""

NUMBER, BOOLEAN, STRING, OBJECT, NULL, UNDEFINED, MAP, END, LIST, DATE, LONG = 0, 1, 2, 3, 5, 6, 8, 9, 10, 11, 12

MOST_VALUES = 256
"""Values in one command; and the depth is `DEEPEST`."""

DEEPEST = 8


class RtmpError(FvqError):
    """The other side does not speak RTMP as it should. The sentence says in what."""


class _Decoder:
    """Reads values from the bytes of a command."""

    def __init__(self, data: bytes) -> None:
        self._data, self._place, self._values = data, 0, 0

    def is_done(self) -> bool:
        return self._place >= len(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data) - self._place:
            raise RtmpError("a command is cut off")
        self._place += count
        return self._data[self._place - count : self._place]

    def text(self, count_bytes: int) -> str:
        return self.take(int.from_bytes(self.take(count_bytes))).decode(errors="replace")

    def value(self, depth: int = 0) -> Value:
        self._values += 1
        if self._values > MOST_VALUES or depth > DEEPEST:
            raise RtmpError(f"a command has more than {MOST_VALUES} values, or is nested deeper than {DEEPEST}")
        marker = self.take(1)[0]
        if marker == NUMBER:
            return float(struct.unpack(">d", self.take(8))[0])
        if marker == BOOLEAN:
            return self.take(1) != b"\0"
        if marker in (STRING, LONG):
            return self.text(4 if marker == LONG else 2)
        if marker in (NULL, UNDEFINED):
            return None
        if marker in (OBJECT, MAP):
            if marker == MAP:
                self.take(4)  # says how many, and is often wrong
            return self._members(depth)
        if marker == LIST:
            for _ in range(int.from_bytes(self.take(4))):
                self.value(depth + 1)
            return None
        if marker == DATE:
            self.take(10)
            return None
        raise RtmpError(f"a command has a value of the unknown type {marker}")

    def _members(self, depth: int) -> dict[str, Value]:
        members: dict[str, Value] = {}
        while True:
            name = self.text(2)
            if not name and self._data[self._place : self._place + 1] == bytes([END]):
                self._place += 1
                return members
            members[name] = self.value(depth + 1)


def decode(data: bytes) -> list[Value]:
    """The values of a command, in their order. Raises `RtmpError`."""
    decoder = _Decoder(data)
    values = []
    while not decoder.is_done():
        values.append(decoder.value())
    return values


def encode(values: Sequence[Value]) -> bytes:
    """The bytes of a command. Texts are short ones, of up to 65,535 bytes."""
    return b"".join(_encoded(value) for value in values)


def _encoded(value: Value) -> bytes:
    if value is None:
        return bytes([NULL])
    if isinstance(value, bool):
        return bytes([BOOLEAN, value])
    if isinstance(value, Mapping):
        members = b"".join(_short(name) + _encoded(member) for name, member in value.items())
        return bytes([OBJECT]) + members + _short("") + bytes([END])
    if isinstance(value, str):
        return bytes([STRING]) + _short(value)
    return bytes([NUMBER]) + struct.pack(">d", value)


def _short(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data
