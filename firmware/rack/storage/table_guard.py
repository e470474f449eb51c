"""Are the tables that protect the rack still those that were loaded?

A bit that flips in RAM moves a trip level, and nothing in the scan would notice. The tables of the config
(alarm levels, limits, resistance, OCV) are used where they lie, so their CRC is taken again and again.
"""

from array import array
from binascii import crc32


class TableGuard:
    """params: rack.config.Params. The tables are held by reference."""

    def __init__(self, params):
        values = params.__dict__
        self._tables = tuple(values[name] for name in values if isinstance(values[name], array))
        self._crc = self._sum()

    def _sum(self):
        crc = 0
        for table in self._tables:
            crc = crc32(table, crc)
        return crc

    def intact(self):
        """False once a table differs from what it was at the start. Allocates: not for the scan."""
        return self._sum() == self._crc
