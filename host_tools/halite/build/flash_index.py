"""Where the code of functions and the long texts lie in the .mpy files of a build, for rack.hal.rp2_run_from_flash.

Format: py/persistentcode.c of MicroPython, .mpy version 6. A raw code is a number (size * 8 + has children * 4 +
kind), the code, for native kinds one more number, then the count of its children and the children.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

INDEX = "code.bin"
# Code that runs while the board starts, and code that a hard interrupt runs: in the heap no cache miss delays it.
IN_HEAP = {
    "rack/start.mpy",
    "rack/hal/rp2_run_from_flash.mpy",
    "rack/control/response/measure_kernel.mpy",
    "rack/control/response/phases.mpy",
    "rack/control/response/request_kernel.mpy",
    "rack/hal/rp2_fast_path.mpy",
}

_BLOCK = 4096  # what is in one block of a file lies in one piece
_INLINE = 512  # littlefs keeps smaller files among its metadata: an eighth of a block
_HEAD = 32  # bytes that the board recognises a block by
_BYTECODE, _VIPER = 0, 2
_ONE_OBJECT = 4  # object kinds up to it are without contents: fun table, None, False, True, Ellipsis
_STRING, _BYTES, _TUPLE = 5, 6, 10
_ALIGNMENT = 4  # of native code
_TEXT_LEAST = 64  # shorter texts are not worth a row


@dataclass(frozen=True)
class Function:
    """The code of one function in an .mpy file: where its header begins, where its code does, its size in bytes."""

    header: int
    offset: int
    size: int
    native: bool


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 4
        self.texts: list[tuple[int, int]] = []  # offset and size of text and bytes objects
        strings, objects = self.number(), self.number()
        for _ in range(strings):
            size = self.number()
            if not size & 1:  # otherwise one of the interpreter's own strings, by its number
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
        if kind <= _ONE_OBJECT:
            return
        size = self.number()
        if kind == _TUPLE:
            for _ in range(size):
                self._skip_object()
            return
        if kind in (_STRING, _BYTES):
            self.texts.append((self.at, size))
        self.at += size + (kind in (_STRING, _BYTES))

    def functions(self, depth: int = 0) -> Iterator[Function]:
        """Every raw code below the module's own, in the order of the file."""
        header = self.at
        packed = self.number()
        kind, size = packed & 3, packed >> 3
        found = Function(header, self.at, size, kind != _BYTECODE)
        self.at += size
        if kind != _BYTECODE:
            self.number()
        if depth:
            yield found
        for _ in range(self.number() if packed & 4 else 0):
            yield from self.functions(depth + 1)


def functions(mpy: bytes) -> list[Function]:
    """The functions of an .mpy file; ValueError when the file is not read to its end."""
    reader = _Reader(mpy)
    found = list(reader.functions())
    if reader.at != len(mpy):
        raise ValueError(f"an .mpy file of {len(mpy)} bytes ends at {reader.at}")
    return found


def align(mpy: bytes) -> bytes:
    """The same module with its native code at multiples of four: a number may begin with digits of zero."""
    found = functions(mpy)
    for at in range(len(found)):
        pad = -found[at].offset % _ALIGNMENT if found[at].native else 0
        if pad:
            mpy = mpy[: found[at].header] + b"\x80" * pad + mpy[found[at].header :]
            found = functions(mpy)  # all that follows has moved
    return mpy


def texts(mpy: bytes) -> list[tuple[int, int]]:
    """Offset and size of the long text and bytes objects of an .mpy file."""
    return [(offset, size) for offset, size in _Reader(mpy).texts if size >= _TEXT_LEAST]


def _blocks(size: int) -> Iterator[tuple[int, int, int]]:
    """First and end offset of the part of a file in each of its blocks, and how many bytes of pointers stand before it.

    A block after the first begins with pointers to blocks before it, one, and one more for each time that its number
    can be halved (DESIGN.md of littlefs, CTZ skip-lists).
    """
    first = number = 0
    while first < size:
        skip = 4 * (number & -number).bit_length()
        yield first, min(first + _BLOCK - skip, size), skip
        first += _BLOCK - skip
        number += 1


def _rows(places: list[tuple[int, int]], mpy: bytes, first: int, end: int, skip: int) -> list[bytes]:
    """Per function and text that lies whole in one block: its first word, offset in the block, and size."""
    return [
        mpy[offset : offset + 4] + struct.pack("<HH", offset - first + skip, size)
        for offset, size in places
        if size >= 4 and first <= offset and offset + size <= end
    ]


def _entries(name: str, mpy: bytes) -> Iterator[bytes]:
    """The blocks of a file in the index, those in which something is of use."""
    places = [(found.offset, found.size) for found in functions(mpy)] + texts(mpy)
    module = name.removesuffix(".mpy").replace("/", ".").encode()
    for first, end, skip in _blocks(len(mpy)):
        rows = _rows(places, mpy, first, end, skip)
        if rows and end - first >= _HEAD:
            yield bytes((len(module), len(rows), skip)) + module + mpy[first : first + _HEAD] + b"".join(rows)


def index(files: Mapping[str, bytes]) -> bytes:
    """The index over the .mpy files of a build: per block the lengths of name and table, the bytes before the
    file's own, the module's name, how its part of the file begins, and per function or text its first word, offset
    and size."""
    return b"".join(
        entry
        for name, data in files.items()
        if name.endswith(".mpy") and name not in IN_HEAP and len(data) > _INLINE
        for entry in _entries(name, data)
    )
