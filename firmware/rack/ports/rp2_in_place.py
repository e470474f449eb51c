"""Run the firmware's code from where its files lie in flash, not from the copy that import makes in the heap.

Import copies every function of an .mpy file into the heap, about 60 kB of the 205 kB of a Pico W. littlefs keeps
a file of 513 to 4096 bytes in one block, from its beginning, and the flash is mapped into the address space; so the
same bytes can be executed there, and the collector can have the copies.

A function object is four words: type, module context, children, code (mp_obj_fun_bc_t, py/objfun.h of MicroPython).
Its last word is changed only when every byte of the function is the same at both places; what is not found, or is
laid out in another way, stays in the heap and works as before. Flash is written only in service mode, which is left
by a reset (rules R6, R7): what was compared stays as it was.
"""

import struct
import sys

import micropython
import uctypes
from machine import mem32
from micropython import const

from rack.control.fast import ptr8

_INDEX = "code.bin"         # halite.in_place: per module its name and the place of each function in the file
_FLASH = const(0x10000000)  # RP2040 data sheet 2.6.3, XIP
_FLASH_END = const(0x10200000)
_BLOCK = const(4096)
_MPY = const(0x064D)        # "M", version 6
_RAM = const(0x20000000)
_RAM_END = const(0x20042000)
_CODE = const(12)           # offset of the code's address in a function object
_KEY = const(0x3FFFFFFF)    # a small integer


@micropython.viper
def _same(left: int, right: int, size: int) -> int:
    """1 when size bytes at two addresses are equal."""
    a = ptr8(left)
    b = ptr8(right)
    at = 0
    while at < size:
        if a[at] != b[at]:
            return 0
        at += 1
    return 1


def _plain():
    pass


def _generator():
    yield


_KINDS = (type(_plain), type(_generator), type(_same))


def _name(block):
    """The source name in the .mpy file at an address: its first string, after the counts of strings and objects."""
    at = block + 4
    for _ in range(3):
        size = 0
        while True:
            byte = mem32[at & ~3] >> 8 * (at & 3) & 0xFF
            at += 1
            size = size << 7 | byte & 0x7F
            if byte < 0x80:
                break
    return bytes(uctypes.bytearray_at(at, min(size >> 1, 64)))


def _blocks():
    """{source name: [addresses]}: a file that was replaced may still lie in a block that is free."""
    found = {}
    for block in range(_FLASH, _FLASH_END, _BLOCK):
        if mem32[block] & 0xFFFF == _MPY:
            found.setdefault(_name(block), []).append(block)
    return found


def _functions(module):
    """The functions of a module and of its classes."""
    for value in module.__dict__.values():
        if isinstance(value, type):
            for inner in value.__dict__.values():
                if type(inner) in _KINDS:
                    yield inner
        elif type(value) in _KINDS:
            yield value


def _rows(file, count):
    """{first word of the code: [(offset in the file, size)]}"""
    rows = {}
    for _ in range(count):
        key, offset, size = struct.unpack("<IHH", file.read(8))
        rows.setdefault(key, []).append((offset, size))
    return rows


def _move(function, rows, blocks):
    """Bytes of code that the function has in flash now; 0 when its bytes are not there."""
    code = mem32[id(function) + _CODE]
    if not _RAM <= code < _RAM_END:
        return 0
    for offset, size in rows.get(mem32[code] & _KEY, ()):
        for block in blocks:
            if code + size <= _RAM_END and _same(code, block + offset, size):
                mem32[id(function) + _CODE] = block + offset
                return size
    return 0


def move():
    """Let the functions of all loaded modules run from flash; returns how many bytes of code do."""
    moved = 0
    blocks = _blocks()
    with open(_INDEX, "rb") as file:
        while True:
            head = file.read(2)
            if not head:
                return moved
            name = file.read(head[0])
            rows = _rows(file, head[1])
            module = sys.modules.get(str(name, "ascii").replace("/", ".")[:-3])
            if module is not None and name in blocks:
                for function in _functions(module):
                    moved += _move(function, rows, blocks[name])
