"""The board's filesystem as a flash image: littlefs 2 at the top of the flash, as MicroPython makes it.

A board can start with its files in place, in tests that do not test the upload.
Geometry: ports/rp2 of MicroPython 1.27, 4096-byte blocks, MICROPY_HW_FLASH_STORAGE_BYTES 848 KiB on Pico W.
"""

from collections.abc import Mapping

from littlefs import LittleFS

FLASH_BYTES = 2 * 1024 * 1024  # Pico and Pico W
STORAGE_BYTES = 848 * 1024
_BLOCK = 4096


def _littlefs(mount: bool = True) -> LittleFS:
    return LittleFS(
        block_size=_BLOCK,
        block_count=STORAGE_BYTES // _BLOCK,
        prog_size=256,
        read_size=32,
        lookahead_size=32,
        mount=mount,
    )


def storage(files: Mapping[str, bytes]) -> bytes:
    """Return a littlefs image of exactly these files (path → content)."""
    fs = _littlefs()
    for path, data in files.items():
        parent = path.rpartition("/")[0]
        if parent:
            fs.makedirs(parent, exist_ok=True)
        with fs.open(path, "wb") as file:
            file.write(data)
    return bytes(fs.context.buffer)


def with_files(flash: bytes, files: Mapping[str, bytes]) -> bytes:
    """Return a copy of a board's flash whose filesystem holds exactly `files` (path → content)."""
    return flash[: FLASH_BYTES - STORAGE_BYTES] + storage(files)


def read_files(flash: bytes) -> dict[str, bytes]:
    """Return every file in a board's flash (path → content)."""
    fs = _littlefs(mount=False)
    fs.context.buffer = bytearray(flash[FLASH_BYTES - STORAGE_BYTES : FLASH_BYTES])
    fs.mount()
    found = {}
    for root, _folders, names in fs.walk("/"):
        for name in names:
            path = f"{root.rstrip('/')}/{name}".lstrip("/")
            with fs.open(path, "rb") as file:
                found[path] = file.read()
    return found
