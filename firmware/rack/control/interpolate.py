"""Piecewise-linear tables in integers: limits, resistance and OCV are knots instead of formulas.

A table that extrapolates would invent a limit outside the config, so it holds the end values outside its knots.
Runs in slots of the scan, does not allocate.
"""

import micropython
from rack.base.viper import ptr32


@micropython.viper
def interpolate(table, ints: int, x: int) -> int:
    """Value at x of knots (x0, y0, x1, y1, …) with rising x; the end values beyond the ends. Rounds down.

    ints: length of the table, 2 or more. |y1 - y0| * (x1 - x0) must stay below 2**30.
    """
    knots = ptr32(table)
    if x <= knots[0]:
        return knots[1]
    at = 2
    while at < ints:
        if x <= knots[at]:
            x0 = knots[at - 2]
            y0 = knots[at - 1]
            return y0 + (knots[at + 1] - y0) * (x - x0) // (knots[at] - x0)
        at += 2
    return knots[ints - 1]


def ratio(part, whole):
    """part / whole in 0.01 %, exact and rounded down, for 0 <= part and 1 <= whole <= 10**8."""
    result = part // whole
    rest = part % whole
    for _ in range(4):
        rest *= 10
        result = result * 10 + rest // whole
        rest %= whole
    return result
