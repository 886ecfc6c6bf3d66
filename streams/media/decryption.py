"""Decrypts segments: AES-128 in CBC mode with PKCS7 padding, over the whole segment (RFC 8216, 4.3.2.4)."""

from __future__ import annotations

from collections import OrderedDict
from typing import BinaryIO

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from streams.errors import MediaError

KEY_BYTES = 16
CHUNK = 1 << 20
MOST_KEYS = 10_000
"""Keys that are kept, by their address; the one that was not used for longest is dropped first."""


class KeyCache:
    """Keys by their address, so that each is fetched once and not with every segment. They are in memory only."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, bytes] = OrderedDict()

    def get(self, address: str) -> bytes | None:
        """The key of an address, if it is known."""
        if address in self._keys:
            self._keys.move_to_end(address)
        return self._keys.get(address)

    def put(self, address: str, key: bytes) -> None:
        """Keep a key."""
        self._keys[address] = key
        if len(self._keys) > MOST_KEYS:
            self._keys.popitem(last=False)

    def drop(self, address: str) -> None:
        """Forget a key that does not fit."""
        self._keys.pop(address, None)


def decrypt(file: BinaryIO, start: int, key: bytes, iv: bytes, name: str) -> None:
    """Replace the bytes from `start` to the file's end by what they decrypt to; the file's position is at its end then.

    key, iv: 16 bytes each. name: of the segment, for errors. Raises `MediaError` where key or vector cannot be the right ones;
    the file is then as it was.
    """
    length = file.seek(0, 2) - start
    if length == 0 or length % KEY_BYTES:
        reason = f"{name}: it has {length} bytes, and AES-128 makes a multiple of {KEY_BYTES} of them: was it cut?"
        raise MediaError(reason, kind="undecodable")
    padding = _padding(file, start, length, key, iv)
    if padding is None:
        raise MediaError(f"{name}: it cannot be decrypted: the key or the initialisation vector is another", kind="undecodable")
    decryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    for place in range(start, start + length, CHUNK):
        file.seek(place)
        plain = decryptor.update(file.read(CHUNK))
        file.seek(place)
        file.write(plain)
    file.seek(start + length - padding)
    file.truncate()


def _padding(file: BinaryIO, start: int, length: int, key: bytes, iv: bytes) -> int | None:
    """Bytes of padding at the end, 1 to 16, from the last block alone; None where what it decrypts to is no padding."""
    if length > KEY_BYTES:
        file.seek(start + length - 2 * KEY_BYTES)
        iv = file.read(KEY_BYTES)
    else:
        file.seek(start)
    plain = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor().update(file.read(KEY_BYTES))
    padding = plain[-1]
    return padding if 1 <= padding <= KEY_BYTES and plain.endswith(bytes([padding]) * padding) else None
