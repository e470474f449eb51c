"""Chip models, written from data sheets and test vectors; pure Python, one interface per kind of bus.

UART chip: `receive(byte, now_us)` per byte at the end of its bus time, `wake(low_us, now_us)` for a long low
level on the line; it answers by calling `transmit(bytes, at_us)`, set by its owner.
SPI chip: `select(now_us)`, `exchange(byte, now_us) -> int`, `deselect(now_us)`.
I²C chip: `start(read) -> ack`, `write(byte) -> ack`, `read() -> byte`, `stop()`.
"""
