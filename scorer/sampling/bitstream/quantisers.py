"""The quantiser of each packet of a file, for the codecs whose slices' headers are read here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from scorer.sampling.bitstream.h264 import H264Slices
from scorer.sampling.bitstream.hevc import HevcSlices
from scorer.sampling.bitstream.units import Configuration, avc_configuration, hevc_configuration, units_of


class Slices(Protocol):
    """Reads the units of one stream in their order."""

    def quantiser(self, unit: bytes) -> int | None:
        """The quantiser of a slice; None for any other unit and for a slice whose header cannot be read."""


PARSERS: dict[str, tuple[Callable[[], Slices], Callable[[bytes], Configuration]]] = {
    "h264": (H264Slices, avc_configuration),
    "hevc": (HevcSlices, hevc_configuration),
}
"""By FFmpeg's name of the codec."""


class Quantisers:
    """Reads the packets of one file in their order. The stream may change, where the file goes on with another one."""

    def __init__(self) -> None:
        self.codec: str | None = None
        """The codec of the packet that was read last, by FFmpeg's name; None where it is not known."""
        self._stream: Any = None
        self._slices: Slices | None = None
        self._length_bytes: int | None = None

    def of(self, packet: Any) -> float | None:
        """The mean of the quantisers of an `av.Packet`'s slices; None where it is another codec or cannot be read."""
        if packet.stream is not self._stream:
            self._begin(packet.stream)
        if self._slices is None:
            return None
        units = units_of(memoryview(packet), self._length_bytes)
        read = [quantiser for unit in units if (quantiser := self._slices.quantiser(unit)) is not None]
        return sum(read) / len(read) if read else None

    def _begin(self, stream: Any) -> None:
        self._stream, self._slices = stream, None
        context = stream.codec_context
        self.codec = None if context is None else context.codec.canonical_name
        if context is None or context.name not in PARSERS:
            return
        parser, configuration_of = PARSERS[context.name]
        configuration = configuration_of(context.extradata or b"")
        self._slices, self._length_bytes = parser(), configuration.length_bytes
        for unit in configuration.units:
            self._slices.quantiser(unit)
