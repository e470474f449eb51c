"""Measure the heap that each firmware module takes on the emulated Pico W: `halite dev heap`.

MicroPython loads code from the filesystem into the heap, so every module takes memory from the running rack. The
measurement imports the modules one after another, each after the modules that it imports, and records the growth.
--lists: measure the modules that the build leaves out, without the application.
"""

import ast
from pathlib import Path

from halite.build import firmware as build
from halite.build.flat import board_names, module_of
from halite.common.image import image_path
from halite.common.paths import FIRMWARE
from halite.config import load
from halite.emulator.board import EmulatedBoard
from halite.emulator.filesystem import with_files
from halite.emulator.repl import at_prompt, run_code

BOOT_MS = 1200.0
_EMULATED_LIMIT_MS = 20_000
_WALL_LIMIT_S = 600
_ROOTS = ("rack.app", "rack.hal.rp2_board")  # rack.start imports these after it has read the config
# The build holds the modules of one chip.
_AFE_ROOTS = ("rack.drivers.bq79616", "rack.drivers.ltc681x", "rack.hal.rp2_afe_spi")
_LISTS = tuple(sorted(map(module_of, build.HOST_ONLY)))

_MEASURE = """
import gc, sys
for name in {names!r}:
    gc.collect(); before = gc.mem_alloc()
    __import__(name)
    gc.collect(); print(name, gc.mem_alloc() - before)
print("free", gc.mem_free())
"""


def _imports(path: Path) -> list[str]:
    """Return the firmware modules that a module imports at its top level, in order."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found += [node.module, *(f"{node.module}.{item.name}" for item in node.names)]
        elif isinstance(node, ast.Import):
            found += [item.name for item in node.names]
    return [name for name in found if name.startswith("rack")]


def import_order(roots: tuple[str, ...], known: set[str]) -> list[str]:
    """Return the modules of `known` that the roots load, each after the modules that it imports."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order or name not in known:
            return
        for needed in _imports(FIRMWARE / (name.replace(".", "/") + ".py")):
            visit(needed)
        order.append(name)

    for root in roots:
        visit(root)
    return order


def _prompt(files: dict[str, bytes]) -> EmulatedBoard:
    """Return a board with these files at its prompt. It gets no main.py, so the application does not start."""
    kept = {name: data for name, data in files.items() if name != "main.py"}
    blank = EmulatedBoard(image_path()).flash_snapshot()
    board = EmulatedBoard(image_path(), flash=with_files(blank, kept))
    board.run_for(BOOT_MS)
    at_prompt(board)
    return board


def measure(config: str = "sodium_rack", lists: bool = False) -> dict[str, int]:
    """Return {module, as the board names it: bytes of heap}, and "free": the bytes of heap that are left.

    lists: measure the modules that the build leaves out, and their imports. All modules together do not fit.
    """
    rack = load(config)
    paths = build.board_sources(lean=not lists, afe_chip=rack["afe_chip"])
    order = import_order(_LISTS if lists else _ROOTS + _AFE_ROOTS, {module_of(path) for path in paths})
    on_board = {} if lists else {module_of(path): module_of(name) for path, name in board_names(paths).items()}
    names = tuple(on_board.get(name, name) for name in order)
    files = build.make(rack, lean=not lists).files
    printed = run_code(_prompt(files), _MEASURE.format(names=names), _EMULATED_LIMIT_MS, _WALL_LIMIT_S)
    return {name: int(size) for name, size in (line.split() for line in printed.splitlines())}


def print_table(config: str, lists: bool) -> None:
    """Measure and print; the arguments are those of `measure`."""
    sizes = measure(config, lists)
    free = sizes.pop("free")
    for name, size in sizes.items():
        print(f"{name:<32} {size:>8}")
    print(f"{'all modules':<32} {sum(sizes.values()):>8}")
    print(f"{'left free':<32} {free:>8}")
