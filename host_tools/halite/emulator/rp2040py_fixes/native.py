"""Lets rp2040py come with a core that was built for this very Python, see `native_build`."""

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
    """Where the modules built for this Python and this version of rp2040py lie, when they were built."""
    return cache_dir() / f"rp2040py-{version('rp2040py')}-{sysconfig.get_config_var('SOABI')}"


class Finder:
    """Finds the modules of rp2040py.native in `built` before the wheel's own are looked for."""

    def __init__(self, built: Path) -> None:
        self._built = built

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        file = self._built / f"{module}.so"
        return spec_from_file_location(name, file) if package == PACKAGE and file.is_file() else None


def use() -> None:
    """Take what was built, if there is something. Before rp2040py is first imported."""
    built = folder()
    if built.is_dir():
        sys.meta_path.insert(0, Finder(built))
