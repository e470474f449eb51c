"""Lets rp2040py load a core that was built for this Python, see `native_build`."""

import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from halite.common.image import cache_dir

PACKAGE = "rp2040py.native"


def folder() -> Path:
    """Return the folder of the modules for this Python and this version of rp2040py; it may not exist."""
    return cache_dir() / f"rp2040py-{version('rp2040py')}-{sysconfig.get_config_var('SOABI')}"


class Finder:
    """Finds the modules of rp2040py.native in the folder `built`, before the import system searches the wheel."""

    def __init__(self, built: Path) -> None:
        self._built = built

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of a module that was built; None for all others. Protocol of sys.meta_path."""
        package, _, module = name.rpartition(".")
        file = self._built / f"{module}.so"
        return spec_from_file_location(name, file) if package == PACKAGE and file.is_file() else None


def use() -> None:
    """Use the core that was built, if there is one. Call it before the first import of rp2040py."""
    built = folder()
    if built.is_dir():
        sys.meta_path.insert(0, Finder(built))
