"""The tables of an MPEG transport stream (ISO/IEC 13818-1, 2.4.4): which streams belong together, and where the video changes.

FFmpeg reads these tables too, but PyAV does not tell, and FFmpeg goes on with a decoder that no longer fits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from scorer.errors import MediaError

Rows = NDArray[np.uint8]

SYNC = 0x47

PACKET_SIZES = (188, 192, 204)
"""Bytes from one packet to the next: plain; with a stamp before each (.mts of cameras); with check bytes after each."""

SYNCED = 4
"""Packets in a row that begin with `SYNC` where a transport stream is."""

HEAD_BYTES = 1 << 20
"""Bytes at the beginning of a file in which the tables are looked for; broadcasters repeat them every 100 ms."""

CHUNK = 4 << 20
"""Bytes of a file that are searched for changes at a time."""

CLEAR_VIDEO = {0x01, 0x02, 0x10, 0x1B, 0x24}
"""Stream types of video that is not encrypted."""

SOUND = {0x03, 0x04, 0x0F, 0x11, 0x1C, 0x81, 0x84, 0x87}
"""Stream types of sound."""

PRIVATE = 0x06
"""Stream type of what only its descriptors tell."""

SOUND_DESCRIPTORS = {0x6A, 0x7A, 0x7B, 0x7C}
"""Tags of DVB's descriptors of AC-3, E-AC-3, DTS and AAC (ETSI EN 300 468)."""

SOUND_REGISTRATIONS = {b"Opus", b"AC-3", b"EAC3", b"BSSD", b"DTS1", b"DTS2", b"DTS3"}
"""What the registration descriptor, of tag 5, says of sound."""

SAMPLE_AES_VIDEO = {0xDB}
"""Stream type of H.264 with SAMPLE-AES (Apple)."""

MOST_LOSSES = 1000
"""Places of a file at which packets do not follow each other; after so many the rest is not searched."""

MOST_CHANGES = 100
"""Changes of the video in one file; a hostile one may hold millions, each of which opens the file again."""


@dataclass(frozen=True)
class Layout:
    """Where packets are: the first begins at byte `start`, and each next one `size` bytes later."""

    start: int
    size: int


def layout_of(data: bytes) -> Layout | None:
    """The layout of the first packets, None where there are none."""
    place = data.find(SYNC)
    while place >= 0:
        for size in PACKET_SIZES:
            if data[place : place + SYNCED * size : size] == bytes([SYNC] * SYNCED):
                return Layout(place, size)
        place = data.find(SYNC, place + 1)
    return None


def layout_at_beginning(head: bytes) -> Layout | None:
    """The layout of a file's packets by its first bytes, None where it is no transport stream."""
    return layout_of(head[: (SYNCED + 1) * max(PACKET_SIZES)])


def packets_of(head: bytes) -> list[bytes]:
    """The packets of 188 bytes in a file's first bytes; none where this is no transport stream."""
    layout = layout_at_beginning(head)
    if layout is None:
        return []
    return [head[i : i + 188] for i in range(layout.start, len(head) - 187, layout.size)]


def programmes(head: bytes) -> list[dict[int, int]]:
    """For each programme, in the order of the association table, its streams: PID -> stream type.

    head: the file's first `HEAD_BYTES`. The list is empty where this is no transport stream, or has no table.
    """
    packets = packets_of(head)
    table = next(_sections(packets, 0), b"")
    return [_streams(next((section for section in _sections(packets, pid) if section[0] == 2), b"")) for pid in _map_pids(table)]


def pid_of(packet: bytes) -> int:
    """The id of the stream that a packet belongs to."""
    return (packet[1] & 0x1F) << 8 | packet[2]


def stream_changes(file: BinaryIO) -> tuple[list[int], list[int]]:
    """The places, bytes, from which on the first programme's video has another PID or codec, and those from which on its first
    sound has; none where it has not. Sound that changes with the video, or more than `MOST_CHANGES` times, is not told.

    Recorders and HLS clients join parts of different encoders, and a channel may change its codec. The whole file is read.
    Raises `MediaError` where the video has more than `MOST_CHANGES` changes.
    """
    watch = _Watch()
    file.seek(0)
    data = file.read(CHUNK)
    if layout_at_beginning(data) is None:
        return [], []
    place, losses = 0, 0
    layout = layout_of(data)
    while layout is not None and losses < MOST_LOSSES:
        count = (len(data) - layout.start) // layout.size
        rows = np.frombuffer(data, np.uint8, count * layout.size, layout.start).reshape(count, layout.size)
        lost = np.flatnonzero(rows[:, 0] != SYNC)
        rows = rows[: lost[0]] if len(lost) else rows
        begins = rows[(rows[:, 1] & 0x40) != 0]
        for number in np.flatnonzero(((rows[:, 1] & 0x40) != 0) & np.isin(_pids(rows), watch.pids(begins))):
            watch.packet(rows[number, :188].tobytes(), place + layout.start + int(number) * layout.size)
        read = layout.start + len(rows) * layout.size
        if len(lost):
            # Where parts are joined, the last packet may be cut off, and the next ones begin within it.
            losses += 1
            read -= layout.size - 1
        data, place = data[read:], place + read
        layout = layout_of(data)
        if layout is None:  # the chunk's end; after a loss, too little of it may be left to find where packets go on
            file.seek(place)
            data = file.read(CHUNK)
            layout = layout_of(data)
    return watch.changes, watch.sound_changes if len(watch.sound_changes) <= MOST_CHANGES else []


def note_change(changes: list[int], place: int) -> None:
    """Add the place of a change of the video, bytes. Raises `MediaError` where there are more than `MOST_CHANGES`."""
    changes.append(place)
    if len(changes) > MOST_CHANGES:
        raise MediaError(f"its video changes more than {MOST_CHANGES} times; split the file there", kind="refused")


class _Watch:
    """Follows the tables of the first programme through a file."""

    def __init__(self) -> None:
        self.changes: list[int] = []
        self.sound_changes: list[int] = []
        self._map_pid: int | None = None
        self._associated_at = 0
        """Where the last association table is: a programme's map follows it, and then the new video."""
        self._has_association = False
        self._video: dict[int, int] = {}
        self._sound: tuple[int, bytes] | None = None

    def pids(self, begins: Rows) -> list[int]:
        """The PIDs whose packets `packet` needs. begins: (N, size), packets with the beginning of a table or picture."""
        associations = {row[:188].tobytes() for row in begins[_pids(begins) == 0]}
        maps = [_map_pids(_first_section(packet))[:1] for packet in associations]
        return [0, *(pid for pids in maps for pid in pids), *([] if self._map_pid is None else [self._map_pid])]

    def packet(self, packet: bytes, place: int) -> None:
        """Take the first packet of a table, which is at byte `place`."""
        section = _first_section(packet)
        if pid_of(packet) == 0:
            pids = _map_pids(section)
            self._map_pid, self._associated_at, self._has_association = (pids[0] if pids else None), place, True
        elif pid_of(packet) == self._map_pid and section[:1] == b"\x02":
            begin = self._associated_at if self._has_association else place
            video = {pid: kind for pid, kind in _streams(section).items() if kind in CLEAR_VIDEO | SAMPLE_AES_VIDEO}
            sound = _sound(section)
            if video and self._video and video != self._video:
                note_change(self.changes, begin)
            elif sound and self._video and sound != self._sound:
                self.sound_changes.append(begin)
            self._video, self._sound = video or self._video, sound or self._sound
            self._has_association = False


def _pids(rows: Rows) -> NDArray[np.int32]:
    """The PID of each of the (N, size) packets."""
    return (rows[:, 1].astype(np.int32) & 0x1F) << 8 | rows[:, 2]


def _first_section(packet: bytes) -> bytes:
    """What a packet with a section's beginning has of it; b"" where it has none."""
    payload = _payload(packet)
    return payload[1 + payload[0] :] if payload else b""


def _payload(packet: bytes) -> bytes:
    if not packet[3] & 0x10:
        return b""
    # Bit 5: an adaptation field, with its length, comes before the payload.
    return packet[5 + packet[4] :] if packet[3] & 0x20 else packet[4:]


def _map_pids(table: bytes) -> list[int]:
    """The PIDs of the programme maps in an association table."""
    end = min(len(table), 3 + ((table[1] & 0x0F) << 8 | table[2])) - 4 if len(table) > 8 and table[0] == 0 else 0
    entries = [table[i : i + 4] for i in range(8, end - 3, 4)]
    # Programme 0 is the network's information table.
    return [(entry[2] & 0x1F) << 8 | entry[3] for entry in entries if entry[:2] != b"\0\0"]


def _streams(table: bytes) -> dict[int, int]:
    """The streams in a programme map, PID -> stream type. Of a map that is cut off those that are there."""
    return {pid: kind for pid, kind, _ in _entries(table)}


def _sound(table: bytes) -> tuple[int, bytes] | None:
    """The first sound in a programme map: its PID, and what tells its codec; None where there is none."""
    for pid, kind, descriptors in _entries(table):
        if kind in SOUND:
            return pid, bytes([kind])
        for tag, content in _descriptors(descriptors) if kind == PRIVATE else ():
            if tag in SOUND_DESCRIPTORS:
                return pid, bytes([kind, tag])
            if tag == 5 and content[:4] in SOUND_REGISTRATIONS:
                return pid, content[:4]
    return None


def _entries(table: bytes) -> Iterator[tuple[int, int, bytes]]:
    """PID, stream type and descriptors of each stream in a programme map. Of a map that is cut off those that are there."""
    if len(table) <= 12:
        return
    end = min(len(table), 3 + ((table[1] & 0x0F) << 8 | table[2]) - 4)
    place = 12 + ((table[10] & 0x0F) << 8 | table[11])
    while place + 5 <= end:
        length = (table[place + 3] & 0x0F) << 8 | table[place + 4]
        yield (table[place + 1] & 0x1F) << 8 | table[place + 2], table[place], table[place + 5 : place + 5 + length]
        place += 5 + length


def _descriptors(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each descriptor."""
    place = 0
    while place + 2 <= len(data):
        yield data[place], data[place + 2 : place + 2 + data[place + 1]]
        place += 2 + data[place + 1]


def _sections(packets: list[bytes], pid: int) -> Iterator[bytes]:
    """The whole sections of a PID, each with its header and checksum; of a packet only the first section that begins in it."""
    section = b""
    for packet in packets:
        if packet[0] != SYNC or pid_of(packet) != pid or not packet[3] & 0x10:
            continue
        if packet[1] & 0x40:  # a section begins after as many bytes as the first one says
            section = _first_section(packet)
        elif section:
            section += _payload(packet)
        if len(section) >= 3:
            length = 3 + ((section[1] & 0x0F) << 8 | section[2])
            if len(section) >= length:
                yield section[:length]
                section = b""
