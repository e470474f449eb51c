"""Checksums of the chips, bit by bit as the data sheets define them (the drivers have their own, faster ones)."""

from collections.abc import Iterable


def crc16(data: Iterable[int]) -> int:
    """BQ796xx frame CRC: polynomial 0x8005 reflected, init 0xFFFF (TI SLVAE86B); sent low byte first."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def pec15(data: Iterable[int]) -> int:
    """LTC68xx packet error code: polynomial 0x4599, init 0x0010, MSB first, shifted left by one."""
    pec = 0x0010
    for byte in data:
        for bit in range(7, -1, -1):
            feedback = (pec >> 14 ^ byte >> bit) & 1
            pec = (pec << 1 & 0x7FFF) ^ (0x4599 if feedback else 0)
    return pec << 1 & 0xFFFF
