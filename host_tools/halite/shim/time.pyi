"""The clock's module: the parts of MicroPython and of CPython in use. Only the type check reads this file."""

from typing import NamedTuple

class struct_time(NamedTuple):
    tm_year: int
    tm_mon: int
    tm_mday: int
    tm_hour: int
    tm_min: int
    tm_sec: int
    tm_wday: int
    tm_yday: int
    tm_isdst: int

def sleep(seconds: float) -> None: ...
def time() -> float: ...
def monotonic() -> float: ...
def perf_counter() -> float: ...

# MicroPython only
def sleep_ms(ms: int) -> None: ...
def ticks_ms() -> int: ...
def ticks_us() -> int: ...
