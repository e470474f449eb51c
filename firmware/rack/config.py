"""Read config.bin on the board and refuse it in any doubt, without repair or guess (rule R9).

Hazard: the limits of another rack. The ranges of rack.definitions.params are checked again here because the file may
come from an older host. A reason gives the number of a parameter, because the build replaces its name: `halite dev
names NUMBER` prints it. Runs at start, may allocate.
"""

import struct
from array import array
from binascii import crc32

from rack.generated.tables import LAYOUT_CRC

_HEAD = 20
_INT_MAX = 2**30 - 1


class ConfigError(Exception):
    """The reason in one line; the rack stays in standby and shows it."""


class Params:
    """One attribute per row of rack.definitions.params: ints, and array('i') for tables; rack_name, maintenance_key."""


def _expect(condition, reason):
    if not condition:
        raise ConfigError(reason)


def load(data):
    """data: bytes of config.bin → Params; raises ConfigError(reason)."""
    from rack.definitions import params as rows

    _expect(len(data) >= _HEAD, "config: too short")
    _expect(bytes(data[:4]) == b"HLT1", "config: wrong magic")
    _expect(struct.unpack_from("<I", data, 4)[0] == crc32(memoryview(data)[8:]), "config: wrong CRC")
    layout, version, scalars, tables, ints = struct.unpack_from("<IHHHH", data, 8)
    _expect(version == rows.VERSION, "config: version %d, firmware has %d" % (version, rows.VERSION))
    _expect(layout == LAYOUT_CRC, "config: other parameters than the firmware's")
    _expect(scalars == len(rows.SCALARS) and tables == len(rows.TABLES), "config: wrong number of parameters")
    table_at = _HEAD + 4 * scalars
    ints_at = table_at + 4 * tables
    text_at = ints_at + 4 * ints
    _expect(text_at + 4 <= len(data), "config: cut short")
    params = Params()
    _read_scalars(params, data, rows.SCALARS)
    _read_tables(params, data, rows.TABLES, table_at, ints_at, ints)
    _read_texts(params, data, text_at)
    return params


def _read_scalars(params, data, rows):
    at = _HEAD
    number = 1
    for name, smallest, largest in rows:
        value = struct.unpack_from("<i", data, at)[0]
        if not smallest <= value <= largest:    # no _expect: its text would be made for each of hundreds of values
            raise ConfigError("config: parameter %d = %d is outside %d..%d" % (number, value, smallest, largest))
        setattr(params, name, value)
        at += 4
        number += 1


def _read_tables(params, data, rows, table_at, ints_at, ints):
    number = 1
    expected = 0
    for name, width, entries_max in rows:
        offset, length = struct.unpack_from("<HH", data, table_at)
        fits = offset == expected and length <= width * entries_max and length % width == 0 and offset + length <= ints
        _expect(fits, "config: table %d has a wrong length" % number)
        table = array("i", struct.unpack_from("<%di" % length, data, ints_at + 4 * offset))
        for value in table:
            if not -_INT_MAX <= value <= _INT_MAX:
                raise ConfigError("config: table %d: %d is out of range" % (number, value))
        setattr(params, name, table)
        table_at += 4
        number += 1
        expected += length
    _expect(expected == ints, "config: table values left over")


def _read_texts(params, data, at):
    texts = []
    for _ in range(2):
        length = struct.unpack_from("<H", data, at)[0]
        texts.append(bytes(data[at + 2 : at + 2 + length]))
        at += 2 + length
        _expect(at <= len(data), "config: cut short")
        if len(texts) == 1:
            _expect(at + 2 <= len(data), "config: cut short")
    _expect(at == len(data), "config: bytes left over")
    _expect(len(texts[1]) == 32, "config: maintenance key is not 32 bytes")
    params.rack_name = texts[0].decode()
    params.maintenance_key = texts[1]
