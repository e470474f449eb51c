"""The emulated rack controller: a Raspberry Pi Pico running the real MicroPython image on rp2040py,
the emulator's faults put right, and the wires from its pins to the simulated rack."""

from halite.emulator.rp2040py_fixes import native

native.use()  # before any module here imports rp2040py
