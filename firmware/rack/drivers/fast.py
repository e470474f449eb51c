"""Viper's pointer names for the interpreters that run the kernels as plain Python.

Inside a viper function `ptr8(buf)` is a cast that the compiler knows; everywhere else it is this
function, so one source serves CPython, the plain build and RP2040.
"""


def ptr8(buffer):
    return buffer


def ptr16(buffer):
    return buffer


def ptr32(buffer):
    return buffer
