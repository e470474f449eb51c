"""The board's filesystem as a flash image: littlefs 2 at the top of the flash, as MicroPython makes it.

Where an upload is not the thing under test, a board starts with its files already there.
Geometry: ports/rp2 of MicroPython 1.27, 4096-byte blocks, MICROPY_HW_FLASH_STORAGE_BYTES 848 KiB on Pico W.
"""

from collections.abc import Mapping

from littlefs import LittleFS

FLASH_BYTES = 2 * 1024 * 1024
STORAGE_BYTES = 848 * 1024
_BLOCK = 4096


def storage(files: Mapping[str, bytes]) -> bytes:
    """A littlefs image of exactly these files (path → content)."""
    fs = LittleFS(
        block_size=_BLOCK, block_count=STORAGE_BYTES // _BLOCK, prog_size=256, read_size=32, lookahead_size=32
    )
    for path, data in files.items():
        parent = path.rpartition("/")[0]
        if parent:
            fs.makedirs(parent, exist_ok=True)
        with fs.open(path, "wb") as file:
            file.write(data)
    return bytes(fs.context.buffer)


def with_files(flash: bytes, files: Mapping[str, bytes]) -> bytes:
    """A copy of a board's flash whose filesystem holds exactly `files`."""
    return flash[: FLASH_BYTES - STORAGE_BYTES] + storage(files)
