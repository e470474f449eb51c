"""FRAM (MB85RC256V class, 32 KiB) on I²C: it keeps its bytes without power and needs no erase.

Fujitsu MB85RC256V data sheet: two address bytes, no write time. An interrupted write keeps the bytes that the chip has
already acknowledged; rack.storage protects its records with a CRC.
"""

from micropython import const

SIZE = const(32768)


class Fram:
    """i2c: a machine.I2C. errors: failed transfers. Every call is one transfer, limited by the bus timeout."""

    def __init__(self, i2c, address=0x50):
        self.errors = 0
        self._i2c = i2c
        self._address = address

    def read_into(self, at, buffer):
        """Fill buffer from address `at` (0..SIZE - len(buffer)). Return False if the chip does not answer."""
        try:
            self._i2c.readfrom_mem_into(self._address, at, buffer, addrsize=16)
        except OSError:
            self.errors += 1
            return False
        return True

    def write(self, at, buffer):
        """Write the whole buffer to address `at`. Return False if the chip does not acknowledge."""
        try:
            self._i2c.writeto_mem(self._address, at, buffer, addrsize=16)
        except OSError:
            self.errors += 1
            return False
        return True
