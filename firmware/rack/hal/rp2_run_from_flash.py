"""Run the firmware's code from its files in flash, instead of the copies that import makes in the heap.

Import copies every function of an .mpy file into the heap, about 60 kB of the 205 kB of a Pico W. littlefs keeps a
file of more than 512 bytes in whole blocks, and the flash is mapped into the address space. So the same bytes can be
executed there, and the collector frees the copies.

A function object is four words: type, module context, children, code (mp_obj_fun_bc_t, py/objfun.h of MicroPython); a
text or bytes object is type, hash, length, data (mp_obj_str_t, py/objstr.h). The last word is changed only when
every byte of the function or text is the same at both places. Code that is not found, or has another layout, stays in
the heap and works as before. Flash is written only in maintenance mode, which a reset ends (rules R6, R7), so the
compared bytes do not change later.
"""

import sys

import micropython
import rp2
from micropython import const

from rack.base.viper import ptr8, ptr32
from rack.hal import chip_rp2040 as chip

_INDEX = "code.bin"         # made by halite.build.flash_index: per block the module, its first bytes, its contents
_COUNTS = const(3)          # lengths of name and table, bytes of the block before the file's own
_HEAD = const(32)           # first bytes of a block, which identify it
_ROW = const(8)             # first word of the code or text, offset and size of it in the block, in two bytes each
_BLOCKS = const(4)          # ioctl: number of blocks of the filesystem, which ends at the end of the flash
_BLOCK = const(4096)
_RAM = const(0x20000000)
_CODE = const(12)           # offset of the address of code or text in an object


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


@micropython.viper
def _next_block(index: ptr8, at: int, block: int, skip: int) -> int:
    """Address of the first block from `block` on that has the head after `skip` bytes; else chip.FLASH_END."""
    head = int(index) + at
    while block < chip.FLASH_END:
        there = ptr8(block + skip)
        alike = there[0] == index[at] and there[4] == index[at + 4] and there[5] == index[at + 5]  # saves most calls
        if alike and int(_same(block + skip, head, _HEAD)):
            return block
        block += _BLOCK
    return block


@micropython.viper
def _move(found: int, index: ptr8, at: int, end: int, block: int) -> int:
    """Let the object at an address use its code in the block; returns the bytes moved, 0 when it is not there."""
    if found & 3 or found < _RAM or found >= chip.RAM_END:  # a name (qstr) is not an address
        return 0
    object = ptr32(found + _CODE)
    code = object[0]
    if code < _RAM or code >= chip.RAM_END:
        return 0
    first = ptr8(code)
    while at < end:
        if first[0] == index[at] and first[1] == index[at + 1] and first[2] == index[at + 2]:
            size = index[at + 6] | index[at + 7] << 8
            there = block + (index[at + 4] | index[at + 5] << 8)
            if code + size <= chip.RAM_END and int(_same(code, there, size)):
                object[0] = there
                return size
        at += _ROW
    return 0


def _plain():
    pass


def _generator():
    yield


_KINDS = {type(_plain), type(_generator), type(_same), str, bytes}
# entries of the index whose code has moved; a long module has one for each block
_done = set()  # type: set[int]


def _objects(module):
    """Addresses of the functions and texts of a module and of its classes."""
    for value in module.__dict__.values():
        if type(value) in _KINDS:
            yield id(value)
        elif isinstance(value, type):
            for inner in value.__dict__.values():
                if type(inner) in _KINDS:
                    yield id(inner)


def _move_module(objects, index, head_at, end, block, skip):
    """Returns the bytes moved. A free block may still hold a replaced file, so every match is tried."""
    moved = 0
    block = _next_block(index, head_at, block, skip)
    while block < chip.FLASH_END:
        for found in objects:
            moved += _move(found, index, head_at + _HEAD, end, block)
        block = _next_block(index, head_at, block + _BLOCK, skip)
    return moved


def move():
    """Let the modules loaded since the last call use their code in flash; returns the number of bytes moved."""
    with open(_INDEX, "rb") as file:
        index = file.read()
    first = chip.FLASH_END - rp2.Flash().ioctl(_BLOCKS, 0) * _BLOCK
    moved = at = 0
    while at < len(index):
        head_at = at + _COUNTS + index[at]
        end = head_at + _HEAD + _ROW * index[at + 1]
        module = sys.modules.get(str(index[at + _COUNTS : head_at], "ascii"))
        if module is not None and at not in _done:
            _done.add(at)
            moved += _move_module(tuple(_objects(module)), index, head_at, end, first, index[at + 2])
        at = end
    return moved
