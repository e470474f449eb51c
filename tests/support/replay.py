"""Replay a record of inputs on the control core and make a digest of its decisions after every scan.

The same code runs on CPython, on MicroPython's unix port and on the RP2040, so it imports only modules that all three
have. A record has an entry for each call on the control core, in the order of the calls: `tests/support/recording.py`.
An entry is one opcode byte and a payload of little-endian 32-bit integers. `replay` reads the payload directly into
the core's arrays, so that the time on the chip is that of the core itself.
"""

import binascii
from array import array

import micropython

CELLS, TEMPS, PERIOD, SCAN, COMMAND = 1, 2, 3, 4, 5
CELLS_AGAIN, TEMPS_AGAIN = 6, 7  # the same values as before, without payload


def runs(inputs):
    """Return (first, end) of each run of consecutive indices. inputs: sorted."""
    found = []
    for index in inputs:
        if found and found[-1][1] == index:
            found[-1] = (found[-1][0], index + 1)
        else:
            found.append((index, index + 1))
    return found


def replay(controller, stream, inputs, guard=None):
    """Make every recorded call on `controller`. Return one CRC-32 per scan, over the process images up to this scan.

    inputs: indices of the input signals, in the order of the record's values.
    guard: called with True before and False after each decision, to lock the heap. ValueError for a wrong opcode.
    """
    image = memoryview(controller.s)
    parts = [image[first:end] for first, end in runs(inputs)]
    word, pair = array("i", [0]), array("i", [0, 0])
    payload = {CELLS: controller.cells_mV, TEMPS: controller.temps_ddegC, PERIOD: pair, SCAN: word, COMMAND: word}
    digests = []
    crc = 0
    while True:
        op = stream.read(1)
        if not op:
            return digests
        op = op[0]
        if op in payload:
            stream.readinto(payload[op])
        if op in (CELLS, CELLS_AGAIN):
            _decide(controller.cells_arrived, guard)
        elif op in (TEMPS, TEMPS_AGAIN):
            _decide(controller.temps_arrived, guard)
        elif op == PERIOD:
            _decide(controller.response.on_period, guard, pair[0], pair[1])
        elif op == SCAN:
            for part in parts:
                stream.readinto(part)
            _decide(controller.scan, guard, word[0])
            crc = binascii.crc32(image, crc) & 0xFFFFFFFF
            digests.append(crc)
        elif op == COMMAND:
            controller.command(word[0] & 255, word[0] >> 8)  # command, and the right of its sender
        else:
            raise ValueError("record %d" % op)


def _decide(call, guard, argument=None, second=None):
    """Make one call under the guard. A call with * would allocate in the guard's place, so each case is written out."""
    if guard is not None:
        guard(True)
    try:
        if argument is None:
            call()
        elif second is not None:
            call(argument, second)
        else:
            call(argument)
    finally:
        if guard is not None:
            guard(False)


def lock(locked):
    """Heap guard for MicroPython: any allocation inside raises MemoryError."""
    if locked:
        micropython.heap_lock()
    else:
        micropython.heap_unlock()


_loaded = ["", None]  # the last config: on the chip, loading a config takes as long as eighty scans


def _params(config_path):
    from rack.config import load

    if _loaded[0] != config_path:
        with open(config_path, "rb") as file:
            _loaded[1] = load(file.read())
        _loaded[0] = config_path
    return _loaded[1]


def run(config_path, record_path, inputs, locked, every=True):
    """Replay a file on this interpreter and print the digests, one on each line.

    locked: lock the heap during decisions. every: False prints only the last digest and the number of digests.
    """
    from rack.control.controller import Controller

    controller = Controller(_params(config_path))
    with open(record_path, "rb") as stream:
        digests = replay(controller, stream, inputs, lock if locked else None)
    for crc in digests if every else digests[-1:]:
        print("%08x" % crc)
    if not every:
        print(len(digests))
