"""Replay a recorded run through the control core and digest what it decided.

This one file runs on CPython, on the unix port and on the RP2040, so it imports only what all
three have. A record is one opcode byte and its little-endian payload, in the order of the calls
that the application (or the simulated rack) made: see `tests/firmware/recording.py`.
"""

import binascii
import struct

CELLS, TEMPS, INPUTS, PERIOD, SCAN, COMMAND = 1, 2, 3, 4, 5, 6


def _read_ints(stream, count, code):
    data = stream.read(struct.calcsize("<%d%s" % (count, code)))
    return struct.unpack("<%d%s" % (count, code), data)


def _store(target, stream, code):
    for index, value in enumerate(_read_ints(stream, len(target), code)):
        target[index] = value


def replay(controller, stream, inputs, guard=None):
    """Feed every record to `controller`; returns one CRC-32 per scan over the whole process image.

    inputs: indices of the input signals, in the order of the record's values
    guard: called with True before and False after each decision, to lock the heap
    """
    digests = []
    crc = 0
    while True:
        op = stream.read(1)
        if not op:
            return digests
        op = op[0]
        if op == CELLS:
            _store(controller.cells_mV, stream, "H")
            _decide(controller.cells_arrived, guard)
        elif op == TEMPS:
            _store(controller.temps_ddegC, stream, "h")
            _decide(controller.temps_arrived, guard)
        elif op == INPUTS:
            for index, value in zip(inputs, _read_ints(stream, len(inputs), "i")):
                controller.s[index] = value
        elif op == PERIOD:
            _decide(controller.response.on_period, guard, _read_ints(stream, 1, "i")[0])
        elif op == SCAN:
            _decide(controller.scan, guard, _read_ints(stream, 1, "i")[0])
            crc = binascii.crc32(controller.s, crc) & 0xFFFFFFFF
            digests.append(crc)
        elif op == COMMAND:
            controller.command(_read_ints(stream, 1, "i")[0])
        else:
            raise ValueError("record %d" % op)


def _decide(call, guard, argument=None):
    """One call under the guard; a call with * would allocate by itself."""
    if guard is not None:
        guard(True)
    try:
        if argument is None:
            call()
        else:
            call(argument)
    finally:
        if guard is not None:
            guard(False)


def lock(locked):
    """Heap guard for MicroPython: any allocation inside raises MemoryError."""
    import micropython

    if locked:
        micropython.heap_lock()
    else:
        micropython.heap_unlock()


def run(config_path, record_path, inputs, locked):
    """Replay a file on this interpreter and print the digests, one a line."""
    from rack.config import load
    from rack.control.controller import Controller

    with open(config_path, "rb") as file:
        params = load(file.read())
    with open(record_path, "rb") as stream:
        for crc in replay(Controller(params), stream, inputs, lock if locked else None):
            print("%08x" % crc)
