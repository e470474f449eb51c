"""The rights of each source of commands: the one table for every path by which a command reaches the rack.

A remote reset that ends an emergency stop, or a message that closes a rack on which somebody works, can kill a person.
So each path states who commands, and this table states the rights. docs/operation.md prints it; a test compares both.
"""

from rack.definitions.codes import (
    RIGHT_CLOSE,
    RIGHT_HELD,
    RIGHT_KEY,
    RIGHT_LOCAL,
    RIGHT_REPEAT,
    RIGHT_RESET,
)

_PERSON = RIGHT_CLOSE | RIGHT_RESET | RIGHT_REPEAT | RIGHT_LOCAL | RIGHT_HELD

# in the order of BY_*
RIGHTS = bytes((
    RIGHT_CLOSE | RIGHT_RESET,      # BY_EMS; RIGHT_REPEAT once
    _PERSON,                        # BY_CONSOLE
    _PERSON | RIGHT_KEY,            # BY_KEY
    RIGHT_CLOSE,                    # BY_AUTO: it releases no latch
))  # fmt: skip
