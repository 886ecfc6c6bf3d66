"""Writes bits as text, and the Exp-Golomb numbers of H.264 and HEVC, to put headers together by hand."""

from __future__ import annotations


def golomb(number: int) -> str:
    """An unsigned Exp-Golomb number, ue(v)."""
    binary = format(number + 1, "b")
    return "0" * (len(binary) - 1) + binary


def signed(number: int) -> str:
    """A signed Exp-Golomb number, se(v)."""
    return golomb(2 * number - 1 if number > 0 else -2 * number)


def as_bytes(text: str) -> bytes:
    """The bits as bytes, with a stop bit and zeros at the end."""
    text += "1" + "0" * (-(len(text) + 1) % 8)
    return int(text, 2).to_bytes(len(text) // 8)
