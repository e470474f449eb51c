"""`ptr32` and the like for interpreters without viper: they return the array itself.

On the board the viper compiler takes these names as its own casts, and these functions are not built in. Elsewhere a
kernel indexes the array directly, with the same results if it obeys the rules of docs/architecture.md.
"""


def ptr32(values):
    """The argument; on the board a pointer to 32-bit integers."""
    return values


def ptr16(values):
    """The argument, an array('h') that is only written; on the board a pointer to 16-bit integers."""
    return values


def ptr8(values):
    """The argument, a bytearray; on the board a pointer to bytes."""
    return values
