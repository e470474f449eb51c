"""PWM without its edges: a fan at 25 kHz follows the duty.

rp2040py calls Python three times per PWM period, 75 000 times a second for one fan. No device on the board counts
those edges. So the slices keep counting but toggle no pin, and the load reads its duty from the compare and wrap
registers (RP2040 data sheet 4.5.3). Compare and wrap values take effect at once, not at the next wrap.
"""

from rp2040py.peripherals.pwm import CHN_CC, CHN_CSR, CHN_TOP, CSR_EN, PWMChannel
from rp2040py.rp2040 import RP2040

FUNCTION_PWM = 4


def quiet_pwm(rp2040: RP2040) -> None:
    """Stop the edge and wrap alarms of all slices."""
    for channel in rp2040.pwm.channels:
        for alarm in (channel.alarm_a, channel.alarm_b, channel.alarm_bottom):
            setattr(alarm, "_schedule", _never)  # noqa: B010 - a method, replaced on purpose
            alarm._cancel()
        _apply_at_once(channel)


def _never() -> None:
    """Replace the schedule method of an alarm that must not fire."""


def _apply_at_once(channel: PWMChannel) -> None:
    write = channel.write_register

    def write_register(offset: int, value: int) -> None:
        write(offset, value)
        if offset in (CHN_CC, CHN_TOP, CHN_CSR):
            channel._update_double_buffered()
            on = bool(channel.csr & CSR_EN)
            channel.set_a(on and channel.cc & 0xFFFF > 0)
            channel.set_b(on and channel.cc >> 16 > 0)

    setattr(channel, "write_register", write_register)  # noqa: B010 - a method, replaced on purpose


def duty(rp2040: RP2040, pin: int) -> float:
    """Return the share of the time that the pin is high, 0..1; 0 unless the pin is a running PWM output."""
    if rp2040.gpio[pin].function_select != FUNCTION_PWM:
        return 0.0
    channel = rp2040.pwm.channels[pin >> 1 & 7]
    if not channel.csr & CSR_EN:
        return 0.0
    compare = channel.cc >> 16 if pin & 1 else channel.cc & 0xFFFF
    return min(compare / (channel.top + 1), 1.0)
