"""Paths of the firmware and the board configs: in the wheel, or next to the package in a checkout."""

import sys
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_WHEEL_DATA = _PACKAGE / "_data"
ROOT = _WHEEL_DATA if _WHEEL_DATA.is_dir() else _PACKAGE.parents[1]

FIRMWARE = ROOT / "firmware"
BOARD_CONFIGS = ROOT / "board_configs"


def use_firmware() -> None:
    """Put the firmware and its CPython shim on the import path, for `import rack` and `import micropython`."""
    for folder in (FIRMWARE, _PACKAGE / "shim"):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
