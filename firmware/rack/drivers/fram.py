"""FRAM (MB85RC256V class, 32 KiB) on I²C: bytes that survive power loss without an erase.

Fujitsu MB85RC256V data sheet: two address bytes, no write time, a write that is cut short keeps the
acknowledged bytes. rack.storage therefore protects its records by CRC.
"""

from micropython import const

SIZE = const(32768)


class Fram:
    """i2c: a machine.I2C. errors: failed transfers. Every call is one transfer and bounded by the bus timeout."""

    def __init__(self, i2c, address=0x50):
        self.errors = 0
        self._i2c = i2c
        self._address = address

    def read_into(self, at, buffer):
        """Fill buffer from address at (0..SIZE - len(buffer)); False when the chip did not answer."""
        try:
            self._i2c.readfrom_mem_into(self._address, at, buffer, addrsize=16)
        except OSError:
            self.errors += 1
            return False
        return True

    def write(self, at, buffer):
        """Write the whole buffer at address at; False when the chip did not acknowledge."""
        try:
            self._i2c.writeto_mem(self._address, at, buffer, addrsize=16)
        except OSError:
            self.errors += 1
            return False
        return True
