"""Read a board config and merge the files that it refers to: pin map of the board, preset of the grid service."""

import tomllib
from pathlib import Path
from typing import Any

from halite.common.errors import HaliteError
from halite.common.paths import BOARD_CONFIGS, FIRMWARE

Document = dict[str, Any]
_MAX_BYTES = 1_000_000  # far above any config; a device file would have no end


def parse_toml(path: Path) -> Document:
    """Parse a TOML file. HaliteError names the file and the line; OSError if the file cannot be opened."""
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise HaliteError(f"{path}: larger than {_MAX_BYTES} bytes, so not a config of Halite")
    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # some editors put a byte order mark first
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise HaliteError(f"{path}: not UTF-8 text (at line {line})", "save it as UTF-8") from None
    except RecursionError:
        raise HaliteError(f"{path}: not valid TOML: nested too deeply") from None
    except ValueError as error:
        raise HaliteError(f"{path}: not valid TOML: {str(error).partition(';')[0]}") from None


def read_toml(path: Path) -> Document:
    """Parse one TOML file; HaliteError names the file and the line."""
    try:
        return parse_toml(path)
    except FileNotFoundError:
        shipped = ", ".join(sorted(p.name for p in BOARD_CONFIGS.glob("*.toml")))
        raise HaliteError(f"{path}: no such file", f"shipped with Halite: {shipped}") from None
    except OSError as error:
        raise HaliteError(f"{path}: cannot be read: {error.strerror}") from None


def find_config(given: str | Path) -> Path:
    """The given file, or the shipped config of this name (`sodium_rack` or `sodium_rack.toml`)."""
    path = Path(given)
    if path.exists() or path.name != str(given):
        return path
    shipped = BOARD_CONFIGS / (path.name if path.suffix else f"{path.name}.toml")
    return shipped if shipped.exists() else path


def _part(config: Path, folder: str, name: object, key: str) -> Document:
    """boards/NAME.toml or grid_services/NAME.toml, from the folder of the config or shipped."""
    for root in (config.parent, BOARD_CONFIGS):
        path = root / folder / f"{name}.toml"
        if isinstance(name, str) and name.isidentifier() and path.exists():
            return read_toml(path)
    known = ", ".join(sorted(p.stem for p in (BOARD_CONFIGS / folder).glob("*.toml"))) or "none"
    raise HaliteError(f"{config}: {key} = {name!r} is not known: allowed is one of {known}")


def chips() -> tuple[str, ...]:
    """The chips that the firmware has a module of addresses for: rack/hal/chip_NAME.py."""
    return tuple(sorted(path.stem.removeprefix("chip_") for path in (FIRMWARE / "rack" / "hal").glob("chip_*.py")))


def chip_of(config: Path, board: str) -> str:
    """The `chip` of the board's pin map. HaliteError for a chip that the firmware does not support."""
    chip = _part(config, "boards", board, "[rack] board").get("chip", "rp2040")
    if chip not in chips():
        raise HaliteError(f"boards/{board}.toml: chip = {chip!r} is not known: allowed is one of {', '.join(chips())}")
    return str(chip)


def _below(base: object, own: object) -> Document:
    """The keys of a preset, overridden by the rack's own keys."""
    return {**(base if isinstance(base, dict) else {}), **(own if isinstance(own, dict) else {})}


def _service(path: Path, document: Document, name: object) -> Document:
    """The keys of a preset for [response]. HaliteError if the preset is for another nominal frequency."""
    preset = _part(path, "grid_services", name, "[response] grid_service")
    preset = _below(preset.get("response", preset), {})
    made_for = preset.pop("nominal_mHz", None)
    grid = document.get("grid")
    nominal = grid.get("nominal_mHz") if isinstance(grid, dict) else None
    if None not in (made_for, nominal) and nominal != made_for:
        problem = f"[response] grid_service = {name!r} is for {made_for} mHz, [grid] nominal_mHz is {nominal}"
        hint = f"a preset of your own, grid_services/NAME.toml next to {path.name}, may leave out nominal_mHz"
        raise HaliteError(f"{path}: {problem}", hint)
    return preset


def read(path: Path) -> Document:
    """The config merged with its board and grid service. The rack's own keys override theirs."""
    document = read_toml(path)
    rack = document.get("rack")
    if isinstance(rack, dict) and "board" in rack:
        pins = _part(path, "boards", rack["board"], "[rack] board").get("pins", {})
        document["pins"] = _below(pins, document.get("pins"))
    response = document.get("response")
    if isinstance(response, dict) and "grid_service" in response:
        document["response"] = _below(_service(path, document, response["grid_service"]), response)
    return document
