"""The GPIOs of an RP2040 that each signal can use. A pin map that does not fit the chip is refused.

RP2040 data sheet, section 1.4.3 (GPIO functions).
"""

from collections.abc import Iterator, Mapping

RESERVED = {23, 24, 25}  # radio, power and LED of the Pico and Pico W
_ADC = {26, 27, 28}

ALLOWED: Mapping[str, set[int]] = {
    "afe_tx": {0, 12, 16, 28},  # UART0
    "afe_rx": {1, 13, 17},
    "afe_miso": {8, 12, 28},  # SPI1; the chip select can be any pin
    "afe_sck": {10, 14, 26},
    "afe_mosi": {11, 15, 27},
    "rs485_tx": {4, 8, 20},  # UART1
    "rs485_rx": {5, 9, 21},
    "can_miso": {0, 4, 16, 20},  # SPI0
    "can_sck": {2, 6, 18, 22},
    "can_mosi": {3, 7, 19},
    "i2c_sda": {2, 6, 10, 14, 18, 22, 26},  # I2C1
    "i2c_scl": {3, 7, 11, 15, 19, 27},
    "coolant_adc": _ADC,
    "gas_adc": _ADC,
}
AFE_UART = ("afe_tx", "afe_rx")
AFE_SPI = ("afe_miso", "afe_cs", "afe_sck", "afe_mosi")
OPTIONAL = {
    "rs485_tx", "rs485_rx", "rs485_de", "zero_crossing_b", "zero_crossing_c", "coolant_flow", *AFE_UART, *AFE_SPI
}  # fmt: skip
SAFE_AT_BOOT = ("coil_enable", "coil_precharge", "coil_main_pos", "coil_main_neg", "heater")  # low first at start
_NEIGHBOURS = ("hvil", "estop", "oc_alert")  # one PIO instruction reads all three


def _function(pins: Mapping[str, int]) -> Iterator[str]:
    for name, pin in pins.items():
        if pin < 0:
            if name not in OPTIONAL:
                yield f"[pins] {name} must be connected"
        elif pin in RESERVED:
            yield f"[pins] {name} = {pin}: GP{pin} is used by the board itself"
        elif pin not in ALLOWED.get(name, {pin}):
            yield f"[pins] {name} = {pin}: allowed is one of {', '.join(map(str, sorted(ALLOWED[name])))}"


def _conflicts(pins: Mapping[str, int]) -> Iterator[str]:
    users: dict[int, str] = {}
    for name, pin in pins.items():
        if pin >= 0 and pin in users:
            yield f"[pins] {name} and {users[pin]} both use GP{pin}"
        users[pin] = name


def check_pins(pins: Mapping[str, int]) -> Iterator[str]:
    """Every conflict of a pin map, one line each. pins: GPIO by signal, -1 not connected."""
    yield from _function(pins)
    yield from _conflicts(pins)
    first = pins[_NEIGHBOURS[0]]
    if [pins[name] for name in _NEIGHBOURS] != [first, first + 1, first + 2]:
        yield f"[pins] {', '.join(_NEIGHBOURS)} must be neighbours in this order"
    if (pins["fan_pwm"] - pins["pump_pwm"]) % 16 == 0:
        yield "[pins] fan_pwm and pump_pwm share a PWM channel: they must not be 16 apart"
