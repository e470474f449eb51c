"""Maintenance keys that anybody can guess: one repeated byte, and the development keys of the shipped configs.

Anybody who knows the key of a rack can unlock it and put another firmware on it. A real board therefore gets a secret
key, unless a person states that it is for development.
"""

from functools import cache

from halite.common.errors import MisuseError
from halite.common.paths import BOARD_CONFIGS
from halite.config.reader import read_toml

_TERMINALS = ("/dev/pts/", "/dev/ttys")  # pseudo-terminals of Linux and macOS: an emulated board


def is_trivial(key: bytes) -> bool:
    """True for a key of one repeated byte, as 64 zeros."""
    return len(set(key)) < 2


@cache
def _published() -> frozenset[bytes]:
    return frozenset(bytes.fromhex(read_toml(path)["maintenance"]["key_hex"]) for path in BOARD_CONFIGS.glob("*.toml"))


def is_published(key: bytes) -> bool:
    """True for the development key of a shipped config."""
    return key in _published()


def require_secret(key: bytes, port: str, development: bool) -> None:
    """Raise MisuseError for a published key on a board that is not emulated.

    port: the real path of its serial port. development: the board is for development, any key is allowed.
    """
    if development or not is_published(key) or port.startswith(_TERMINALS):
        return
    raise MisuseError(
        f"{port}: the config has a development key that everybody knows",
        "give the rack its own key (`halite config new`), or add --development for a board that controls no rack",
    )
