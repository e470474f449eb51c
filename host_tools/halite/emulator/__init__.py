"""The emulated rack controller: a Raspberry Pi Pico that runs the real MicroPython image on rp2040py.

With corrections of rp2040py's faults, and the wires from the pins to the simulated rack.
"""

from halite.emulator.rp2040py_fixes import native

native.use()  # before any module here imports rp2040py
