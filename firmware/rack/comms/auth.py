"""The maintenance right by challenge and response (rule R7).

Maintenance mode stops protection, so a typed word alone must not enter it, and never under load.
HMAC-SHA256 (RFC 2104) over a nonce that is valid once; the key comes with the board config.
"""

import hashlib
from binascii import hexlify, unhexlify

from micropython import const

_BLOCK = const(64)


def hmac_sha256(key, message):
    """HMAC-SHA256 of `message`; key and message are bytes, the key at most 64 bytes."""
    key = key + bytes(_BLOCK - len(key))
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key))
    inner.update(message)
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
    outer.update(inner.digest())
    return outer.digest()


def same(first, second):
    """Compare two byte strings in a time that does not depend on where they differ."""
    difference = len(first) ^ len(second)
    for one, other in zip(first, second):
        difference |= one ^ other
    return difference == 0


class Challenge:
    """Issues nonces and checks the answers; a nonce is valid for one answer.

    random: callable(n) → n unpredictable bytes.
    """

    def __init__(self, key, random):
        self._key = key
        self._random = random
        self._nonce = None

    def ask(self):
        """A new nonce as hex text; the previous nonce is no longer valid."""
        self._nonce = self._random(16)
        return str(hexlify(self._nonce), "ascii")

    def accepts(self, answer_hex):
        """True when `answer_hex` is the HMAC of the newest nonce."""
        nonce, self._nonce = self._nonce, None
        if nonce is None:
            return False
        try:
            answer = unhexlify(answer_hex)
        except ValueError:
            return False
        return same(answer, hmac_sha256(self._key, nonce))
