"""Make the index of function code and long texts in the .mpy files of a build, for rack.hal.rp2_run_from_flash.

The format of .mpy version 6 is in py/persistentcode.c of MicroPython. A raw code has these parts in order: a number
(size * 8 + has children * 4 + kind), the code, one more number for native kinds, the count of children, the children.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

INDEX = "code.bin"
# These modules stay in the heap: code that runs while the board starts, and code of hard interrupts, which a miss of
# the flash cache would delay.
IN_HEAP = {"start", "rp2_run_from_flash", "measure_kernel", "phases", "request_kernel", "rp2_fast_path"}

_BLOCK = 4096  # littlefs keeps each block of a file in one piece
_INLINE = 512  # littlefs keeps smaller files in its metadata: an eighth of a block
_HEAD = 32  # the board recognises a block by these first bytes
_BYTECODE, _VIPER = 0, 2
_MAX_EMPTY = 4  # object kinds up to this one have no contents: fun table, None, False, True, Ellipsis
_STRING, _BYTES, _TUPLE = 5, 6, 10
_ALIGNMENT = 4  # of native code
_PART_MAX = _BLOCK - 32  # a part that fits into each block after the pointers before it
_TEXT_MIN = 64  # a shorter text does not save enough heap for a row of the index


@dataclass(frozen=True)
class Part:
    """The code of a function, or a text, in an .mpy file. header, offset: begin of its size and of itself; in bytes."""

    header: int
    offset: int
    size: int
    native: bool = False


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 4
        self.texts: list[Part] = []  # text and bytes objects
        strings, objects = self.number(), self.number()
        for _ in range(strings):
            size = self.number()
            if not size & 1:  # an odd number stands for a string of the interpreter
                self.at += (size >> 1) + 1
        for _ in range(objects):
            self._skip_object()

    def number(self) -> int:
        value = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value

    def _skip_object(self) -> None:
        kind = self.data[self.at]
        self.at += 1
        if kind <= _MAX_EMPTY:
            return
        header = self.at
        size = self.number()
        if kind == _TUPLE:
            for _ in range(size):
                self._skip_object()
            return
        if kind in (_STRING, _BYTES):
            self.texts.append(Part(header, self.at, size))
        self.at += size + (kind in (_STRING, _BYTES))

    def functions(self, depth: int = 0) -> Iterator[Part]:
        """Return every raw code below that of the module, in the order of the file."""
        header = self.at
        packed = self.number()
        kind, size = packed & 3, packed >> 3
        found = Part(header, self.at, size, kind != _BYTECODE)
        self.at += size
        if kind != _BYTECODE:
            self.number()
        if depth:
            yield found
        for _ in range(self.number() if packed & 4 else 0):
            yield from self.functions(depth + 1)


def functions(mpy: bytes) -> list[Part]:
    """Return the functions of an .mpy file. ValueError if the last function does not end with the file."""
    reader = _Reader(mpy)
    found = list(reader.functions())
    if reader.at != len(mpy):
        raise ValueError(f"an .mpy file of {len(mpy)} bytes ends at {reader.at}")
    return found


def arrange(mpy: bytes) -> bytes:
    """Move functions and long texts so that they can be used in flash.

    Native code begins at a multiple of four, each part lies in one block of littlefs, and the file is long enough for
    a block of its own. The padding is zero digits before a number, which the format allows.
    """
    for at in range(len(texts(mpy))):
        mpy = _padded(mpy, texts(mpy)[at], False)
    for at in range(len(functions(mpy))):
        mpy = _padded(mpy, functions(mpy)[at], at == 0)
    return mpy


def _padded(mpy: bytes, part: Part, lengthen: bool) -> bytes:
    """Return the file with zero digits before a part. lengthen: also make the file long enough."""
    return mpy[: part.header] + b"\x80" * _padding(part, lengthen, mpy) + mpy[part.header :]


def _padding(part: Part, lengthen: bool, mpy: bytes) -> int:
    begin = part.offset + (max(0, _INLINE + 1 - len(mpy)) if lengthen else 0)
    begin += -begin % _ALIGNMENT if part.native else 0
    for first_of_block, end, _ in _blocks(len(mpy) + _BLOCK):
        if first_of_block <= begin < end < begin + part.size and part.size <= _PART_MAX:
            begin = end  # a multiple of _ALIGNMENT, because each pointer before a part has four bytes
    return begin - part.offset


def texts(mpy: bytes) -> list[Part]:
    """Return the long text and bytes objects of an .mpy file."""
    return [text for text in _Reader(mpy).texts if text.size >= _TEXT_MIN]


def _blocks(size: int) -> Iterator[tuple[int, int, int]]:
    """Return for each block of a file: first and end offset of its part of the file, bytes of pointers before the part.

    Each block after the first begins with pointers to earlier blocks. It has one pointer, and one more for each time
    that the block's number can be halved (DESIGN.md of littlefs, CTZ skip-lists).
    """
    first = number = 0
    while first < size:
        skip = 4 * (number & -number).bit_length()
        yield first, min(first + _BLOCK - skip, size), skip
        first += _BLOCK - skip
        number += 1


def _rows(places: list[tuple[int, int]], mpy: bytes, first: int, end: int, skip: int) -> list[bytes]:
    """Return a row for each function or text that is whole in this block: first word, offset in the block, size."""
    return [
        mpy[offset : offset + 4] + struct.pack("<HH", offset - first + skip, size)
        for offset, size in places
        if size >= 4 and first <= offset and offset + size <= end
    ]


def _entries(name: str, mpy: bytes) -> Iterator[bytes]:
    """Return the index entries of a file: one for each block with at least one row."""
    places = [(part.offset, part.size) for part in (*functions(mpy), *texts(mpy))]
    module = name.removesuffix(".mpy").replace("/", ".").encode()
    for first, end, skip in _blocks(len(mpy)):
        rows = _rows(places, mpy, first, end, skip)
        if rows and end - first >= _HEAD:
            yield bytes((len(module), len(rows), skip)) + module + mpy[first : first + _HEAD] + b"".join(rows)


def index(files: Mapping[str, bytes]) -> bytes:
    """Return the index over the .mpy files of a build.

    An entry describes one block. It has the length of the module's name, the number of rows, and the bytes of
    pointers before the file's part; then the name, the first 32 bytes of the part, and the rows. A row is the first
    word, the offset and the size of a function or text.
    """
    return b"".join(
        entry
        for name, data in files.items()
        if name.endswith(".mpy") and PurePosixPath(name).stem not in IN_HEAP and len(data) > _INLINE
        for entry in _entries(name, data)
    )
