"""Reads bits, and the Exp-Golomb numbers of H.264 and HEVC (ITU-T H.264, 9.1), from bytes that may hold anything."""

from __future__ import annotations

MOST_ZEROS = 32
"""Leading zeros of the largest Exp-Golomb number that the standards allow."""

MOST = (1 << MOST_ZEROS) - 2
"""The largest Exp-Golomb number that the standards allow."""


class BitsError(Exception):
    """The bytes end too soon, or hold a number that cannot be, or use what is not read here."""


class Bits:
    """The bits of some bytes, read one after the other. Every read raises `BitsError` past the end, so that loops end."""

    __slots__ = ("_bits", "_place")

    def __init__(self, data: bytes) -> None:
        # As text: cutting a piece out of a text takes the same time at every place, a shift of a long number does not.
        self._bits = format(int.from_bytes(data), f"0{8 * len(data)}b") if data else ""
        self._place = 0

    def number(self, width: int) -> int:
        """The next `width` bits as an unsigned number; 0 where `width` is 0."""
        if not width:
            return 0
        end = self._place + width
        if end > len(self._bits):
            raise BitsError("the bits end too soon")
        number = int(self._bits[self._place : end], 2)
        self._place = end
        return number

    def flag(self) -> bool:
        """The next bit."""
        place = self._place
        if place >= len(self._bits):
            raise BitsError("the bits end too soon")
        self._place = place + 1
        return self._bits[place] == "1"

    def skip(self, width: int) -> None:
        """Leave out the next `width` bits."""
        self._place += width
        if self._place > len(self._bits):
            raise BitsError("the bits end too soon")

    def golomb(self, highest: int = MOST) -> int:
        """The next Exp-Golomb number, ue(v). highest: raises `BitsError` over it, so that nothing is repeated without end."""
        one = self._bits.find("1", self._place, self._place + MOST_ZEROS + 1)
        if one == self._place:  # 0, as most of them are
            self._place += 1
            return 0
        end = 2 * one - self._place + 1
        if one < 0 or end > len(self._bits):
            raise BitsError("no Exp-Golomb number")
        number = int(self._bits[one:end], 2) - 1
        if number > highest:
            raise BitsError(f"{number} is over {highest}")
        self._place = end
        return number

    def signed(self) -> int:
        """The next signed Exp-Golomb number, se(v)."""
        number = self.golomb()
        return (number + 1) // 2 if number % 2 else -(number // 2)
