"""Flip single bits in the arrays of the control core: `make bitflips`, or run.py [FLIPS] [SEED] with tests in the path.

Prints each flip that leaves a closed rack blind to a danger, and their number. Status 1 with at least one.
"""

import sys
from multiprocessing import Pool
from random import Random
from typing import Any

from support import bit_flips

FLIPS, SEED, CHUNK = 20_000, 1, 100


def chunk(seeded: tuple[int, int]) -> list[Any]:
    """Blind flips among CHUNK of them."""
    host = bit_flips.closed_rack()
    healthy_ms, random = bit_flips.times_ms(host), Random(repr(seeded))
    flips = [bit_flips.drawn(random, host.controller) for _ in range(CHUNK)]
    blind = [(flip, bit_flips.blind_to(host, *flip, healthy_ms)) for flip in flips]
    return [each for each in blind if each[1]]


def main() -> int:
    """Run the campaign in two processes."""
    given = [int(each) for each in sys.argv[1:]]
    flips, seed = given + [FLIPS, SEED][len(given) :]
    found = 0
    chunks = [(seed, number) for number in range((flips + CHUNK - 1) // CHUNK)]
    with Pool(2) as pool:
        for number, blind in enumerate(pool.imap(chunk, chunks), 1):
            for (place, word, bit), missed in blind:
                found += 1
                print(f"{place.path} word {word} bit {bit}: {', '.join(missed)}", flush=True)
            if number % 20 == 0:
                print(f"{number * CHUNK} flips, {found} blind", flush=True)
    print(f"{len(chunks) * CHUNK} flips, {found} left a closed rack blind")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
