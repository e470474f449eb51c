"""Compile a validated config to the `config.bin` of docs/architecture.md; rack.config reads it on the board."""

import binascii
import struct
from collections.abc import Mapping, Sequence

from halite.common.paths import use_firmware
from halite.config import rows

MAGIC = b"HLT1"


def layout_crc() -> int:
    """CRC-32 of the names. The board refuses a config that was compiled for other rows."""
    names = ",".join(row.name for row in rows.scalars()) + ";" + ",".join(table.name for table in rows.tables())
    return binascii.crc32(names.encode())


def _counted(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def pack(scalars: Sequence[int], tables: Sequence[Sequence[int]], name: str, maintenance_key: bytes) -> bytes:
    """The blob of scalars in the order of SCALARS and tables, as flat integers, in the order of TABLES."""
    use_firmware()
    from rack.definitions.params import VERSION

    ints = [value for table in tables for value in table]
    index, offset = b"", 0
    for table in tables:
        index += struct.pack("<HH", offset, len(table))
        offset += len(table)
    body = struct.pack("<IHHHH", layout_crc(), VERSION, len(scalars), len(tables), len(ints))
    body += struct.pack(f"<{len(scalars)}i", *scalars) + index + struct.pack(f"<{len(ints)}i", *ints)
    body += _counted(name.encode()) + _counted(maintenance_key)
    return MAGIC + struct.pack("<I", binascii.crc32(body)) + body


def flat(entries: Sequence[int | Sequence[int]]) -> list[int]:
    """Entries of a table as one list of integers."""
    return [value for entry in entries for value in ([entry] if isinstance(entry, int) else entry)]


def pack_values(values: Mapping[str, int], tables: Mapping[str, Sequence[int]], name: str, key: bytes) -> bytes:
    """As `pack`, with values by name."""
    ordered = [values[row.name] for row in rows.scalars()]
    return pack(ordered, [tables[table.name] for table in rows.tables()], name, key)
