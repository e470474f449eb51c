"""The board of the RP2040 (Pico, Pico W) and of the Pico 2: pins, buses, dead-man, watchdog.

Only the rp2 modules of rack.hal know the chip. They use the constants of rack.hal.chip_rp2040; a build for the Pico 2
replaces them by those of chip_rp2350.

Every pin comes from the board config. `Rp2Board.__init__` switches the outputs off before it makes any bus. Register
addresses: RP2040 data sheet 2.2.1 (SIO), 2.19 (IO), 3.7 (PIO), 4.4 (SPI), 4.7 (watchdog).
"""

import os
from array import array
from time import ticks_ms, ticks_us

import machine
import micropython
import rp2
from machine import ADC, I2C, PWM, SPI, UART, WDT, Pin, Timer, disable_irq, enable_irq, idle
from micropython import const

from rack.base.period_count import HOLD_OFF_CYCLES, OVERHEAD_TICKS
from rack.definitions import codes
from rack.base.viper import ptr8, ptr32
from rack.hal import chip_rp2040 as chip
from rack.hal import rp2_pio
from rack.hal.rp2_fast_path import FastPath
from rack.hal.scratch import Scratch

_CLOSED_US = const(1000)                     # shortest time between two feeds of a working schedule
_WINDOW_SM = const(0)
_GATE_SM = const(1)
_PERIOD_SM = const(4)                        # and the next two when three phases are measured
_UART_BUFFER = const(1100)
_SHORT_us = const(100)
_SPI_Hz = const(10_000_000)
_I2C_Hz = const(1_000_000)
_I2C_TIMEOUT_us = const(1000)
_FAN_Hz = const(25_000)
_COIL_Hz = const(20_000)
_COMMISSIONED = "commissioned"               # an empty file: this board has run the application
_PULL_IN_ms = const(100)                     # five times the operate time of TE EVC500

_SM0_EXECCTRL_SET = const(0x502020CC)        # atomic set alias; state machine 0 is the window
_SM0_INSTR = const(0x502000D8)
_PULL_NOBLOCK = const(0x8080)
_CTRL = const(4)                             # GPIOn_CTRL, 8 bytes a pin


@micropython.viper
def _spi_burst(tx, rx, count: int, select: int) -> int:
    """Exchange count bytes in one chip select on SPI0, polled. The shift clock, which always runs, bounds the time."""
    out = ptr8(tx)
    back = ptr8(rx)
    spi = ptr32(chip.SPI0)
    sio = ptr32(chip.SIO)
    sio[chip.SIO_OUT_CLR] = select
    sent = 0
    got = 0
    while got < count:
        if sent < count and sent - got < 8:
            spi[2] = int(out[sent])          # SSPDR
            sent += 1
        if int(spi[3]) & 4:                  # SSPSR: receive FIFO not empty
            back[got] = int(spi[2])
            got += 1
    sio[chip.SIO_OUT_SET] = select
    return count


@micropython.viper
def _feed_window() -> int:
    """Feed once; 0 when the window has stopped before, so that it no longer takes feeds."""
    pio = ptr32(0x50200000)
    if int(pio[1]) & (1 << 24):              # FSTAT.TXEMPTY of state machine 0
        pio[4] = 1                           # TXF0
        return 1
    return 0


@micropython.viper
def _read_pins(pins, masks, count: int) -> int:
    """Bits masks[i] of the pins that are high; an input without a pin (-1) counts as healthy."""
    sio = ptr32(chip.SIO)
    p = ptr32(pins)
    m = ptr32(masks)
    level = int(sio[1])
    found = 0
    i = 0
    while i < count:
        if int(p[i]) < 0 or (level >> int(p[i])) & 1:
            found |= int(m[i])
        i += 1
    return found


@micropython.viper
def _short_low(pin: int, us: int):
    """Hold a pin low for us to us + 1 µs, whichever peripheral drives it. Call with interrupts disabled."""
    set_ctrl = ptr32(chip.IO_BANK0_SET)
    clear_ctrl = ptr32(chip.IO_BANK0_CLR)
    timer = ptr32(chip.TIMER_RAW)
    begin = int(timer[0])
    set_ctrl[2 * pin + 1] = chip.DRIVE_LOW
    while int(timer[0]) - begin <= us:
        pass
    clear_ctrl[2 * pin + 1] = chip.DRIVE_LOW


class AfeUart:
    """UART0 for the AFE driver; the pad override and a timer make the wake pulse."""

    def __init__(self, tx, rx):
        uart = UART(0, 1_000_000, tx=Pin(tx), rx=Pin(rx, Pin.IN, Pin.PULL_UP), rxbuf=_UART_BUFFER, timeout=0)
        self.write = uart.write
        self.any = uart.any
        self.readinto = uart.readinto
        self._tx = tx
        self._set_at = chip.IO_BANK0_SET + _CTRL + 8 * tx      # attributes: making such large integers allocates
        self._clear_at = chip.IO_BANK0_CLR + _CTRL + 8 * tx
        self._timer = Timer(-1)
        self._release = self._end_pulse

    def pulse_low(self, us):
        """Start a low pulse of `us` µs on the transmit line and return at once; a short pulse has ended by then."""
        if us < _SHORT_us:
            state = disable_irq()
            _short_low(self._tx, us)
            enable_irq(state)
            return
        machine.mem32[self._set_at] = chip.DRIVE_LOW
        self._timer.init(mode=Timer.ONE_SHOT, period=us, tick_hz=1_000_000, hard=True, callback=self._release)

    def _end_pulse(self, timer):
        machine.mem32[self._clear_at] = chip.DRIVE_LOW


class CanSpi:
    """SPI0 for rack.drivers.mcp2515, shared with the hard interrupt of the fast path."""

    def __init__(self, sck, mosi, miso, select):
        self._select = Pin(select, Pin.OUT, value=1)
        self._spi = SPI(0, baudrate=_SPI_Hz, sck=Pin(sck), mosi=Pin(mosi), miso=Pin(miso))
        self.mask = 1 << select

    def transfer(self, tx, rx, count):
        """Exchange at most 16 bytes. Main loop only: interrupts wait for one transfer (about 15 µs)."""
        state = disable_irq()
        _spi_burst(tx, rx, count, self.mask)
        enable_irq(state)


def enter_maintenance():
    """Reset into maintenance mode without an Rp2Board, which needs a valid config."""
    scratch = Scratch(machine.mem32)
    scratch.request_maintenance()
    machine.reset()


class Rp2Board:
    """All hardware of one board, with the members of rack/hal/README.md.

    params: rack.config.Params. Raises ValueError for impossible pins.
    """

    ADC_COOLANT = 0
    ADC_GAS = 1

    def __init__(self, params):
        p = params
        if chip.SYSTEM_Hz:
            machine.freq(chip.SYSTEM_Hz)
        self._coils = tuple(Pin(n, Pin.OUT, value=0)
                            for n in (p.pins_coil_main_neg, p.pins_coil_precharge, p.pins_coil_main_pos))
        self._coil_bits = 0
        self._cooling = 0
        self._make_economiser(p)
        self._enable = Pin(p.pins_coil_enable, Pin.OUT, value=0)
        self._heater = Pin(p.pins_heater, Pin.OUT, value=0)
        self.ticks_ms = ticks_ms
        self.ticks_us = ticks_us
        self.idle = idle
        self.lock_heap = micropython.heap_lock
        self.unlock_heap = micropython.heap_unlock
        self.scratch = Scratch(machine.mem32)
        self.task_register = chip.SCRATCH_TASK
        self._make_inputs(p)
        self._make_deadman(p)
        self._fan = PWM(Pin(p.pins_fan_pwm), freq=_FAN_Hz, duty_u16=0)
        self._pump = PWM(Pin(p.pins_pump_pwm), freq=_FAN_Hz, duty_u16=0)
        self._adc = (ADC(p.pins_coolant_adc), ADC(p.pins_gas_adc))
        self._core = ADC(4)
        if p.afe_chip == codes.AFE_LTC6813:
            from rack.hal.rp2_afe_spi import AfeSpi

            self.afe_spi = AfeSpi(p)
        else:
            self.afe_uart = AfeUart(p.pins_afe_tx, p.pins_afe_rx)
        self.can_spi = CanSpi(p.pins_can_sck, p.pins_can_mosi, p.pins_can_miso, p.pins_can_cs)
        self.i2c = I2C(1, sda=Pin(p.pins_i2c_sda), scl=Pin(p.pins_i2c_scl), freq=_I2C_Hz, timeout=_I2C_TIMEOUT_us)
        self.rs485 = None
        if p.modbus_enabled:
            from rack.hal.rp2_rs485 import Rs485

            self.rs485 = Rs485(p)
        self._wdt = None
        self._make_periods(p)

    def _make_periods(self, p):
        crossings = (p.pins_zero_crossing_a, p.pins_zero_crossing_b, p.pins_zero_crossing_c)
        self._periods = tuple(rp2.StateMachine(_PERIOD_SM + at, rp2_pio.period, jmp_pin=Pin(crossings[at], Pin.IN))
                              for at in range(p.grid_phases))

    def _make_inputs(self, p):
        inputs = ((p.pins_hvil, codes.IN_HVIL), (p.pins_estop, codes.IN_ESTOP), (p.pins_oc_alert, codes.IN_OC_OK),
                  (p.pins_aux_main_pos, codes.IN_AUX_POS), (p.pins_aux_main_neg, codes.IN_AUX_NEG),
                  (p.pins_coolant_flow, codes.IN_COOLANT_FLOW))
        for pin, _ in inputs:
            if pin >= 0:
                Pin(pin, Pin.IN, Pin.PULL_DOWN)      # so that a broken lead reads as open, stopped, tripped
        self._in_pins = array("i", (pin for pin, _ in inputs))
        self._in_masks = array("i", (mask for _, mask in inputs))

    def _make_economiser(self, p):
        """With contactor_hold_pct below 100 the coils get PWM once they have pulled in, otherwise plain levels."""
        self._coil_pwms = None
        self._pulling_in = 0                         # scans left with full current
        self._pull_in_scans = -(-_PULL_IN_ms // p.rack_scan_ms)
        self._hold_duty = p.contactor_hold_pct * 65535 // 100
        if p.contactor_hold_pct < 100:
            self._coil_pwms = tuple(PWM(pin, freq=_COIL_Hz, duty_u16=0) for pin in self._coils)

    def _drive_coils(self, duty):
        """Drive the commanded coils with this duty, 0..65535."""
        mask = 1
        for index in range(3):
            on = self._coil_bits & mask
            if self._coil_pwms:
                self._coil_pwms[index].duty_u16(duty if on else 0)
            else:
                self._coils[index](1 if on else 0)
            mask <<= 1

    def _make_deadman(self, p):
        if p.pins_estop != p.pins_hvil + 1 or p.pins_oc_alert != p.pins_hvil + 2:
            raise ValueError("pins: hvil, estop, oc_alert must be neighbours")
        self._armed = False
        self._closed_ticks = _CLOSED_US // rp2_pio.TICK_US
        self._open_ticks = (p.deadman_window_ms * 1000 - _CLOSED_US) // rp2_pio.TICK_US - 10
        self._window = rp2.StateMachine(_WINDOW_SM)
        self._gate = rp2.StateMachine(_GATE_SM)
        self._first_interlock = Pin(p.pins_hvil, Pin.IN, Pin.PULL_DOWN)

    @micropython.viper
    def sleep(self, due_us: int):
        """Let the processor sleep until due_us, at most 1 ms longer, and at least until the next interrupt.

        An interrupt ends `idle` and leaves the processor's event flag set, which ends it twice more. The loop here
        takes a fifth of the time of a round of the scheduler for each of them.
        """
        timer = ptr32(chip.TIMER_RAW)
        idle()
        while (due_us - int(timer[0]) - 1) & 0x3FFFFFFF < 0x20000000:
            idle()

    # -- dead-man and watchdog

    def arm_enable(self):
        """Restart the dead-man. All coils must be commanded off."""
        self._window.active(0)
        self._gate.active(0)
        self._gate.init(rp2_pio.gate, freq=rp2_pio.CLOCK_Hz, set_base=self._enable,
                        in_base=self._first_interlock)
        self._window.init(rp2_pio.window, freq=rp2_pio.CLOCK_Hz)
        machine.mem32[_SM0_EXECCTRL_SET] = 1         # STATUS: transmit FIFO level < 1
        for _ in range(4):
            machine.mem32[_SM0_INSTR] = _PULL_NOBLOCK    # discards feeds that a stopped window has left in the FIFO
        self._window.put(self._open_ticks)
        self._window.put(self._closed_ticks)
        self._gate.active(1)
        self._window.active(1)
        self._armed = True

    def disarm_enable(self):
        """Drop the coils' supply at once."""
        self._armed = False
        self._gate.active(0)
        self._window.active(0)
        self._enable.init(Pin.OUT, value=0)

    def feed(self):
        """Feed dead-man and watchdog at the end of a checked scan. False when the armed dead-man has dropped."""
        if self._wdt is not None:
            self._wdt.feed()
        return not self._armed or _feed_window() == 1

    def feed_wdt(self):
        """Feed only the reset watchdog: standby, with the outputs off."""
        if self._wdt is not None:
            self._wdt.feed()

    def arm_wdt(self, ms):
        """Start the reset watchdog, 1..8388 ms; it cannot be stopped. Not for maintenance mode."""
        self._wdt = WDT(timeout=ms)

    def reset_to_maintenance(self):
        """Outputs off, then reset into maintenance mode once."""
        self.write_coils(0)
        self.disarm_enable()
        self.scratch.request_maintenance()
        machine.reset()

    def reset_reason(self):
        """REASON_* of this start (rack.definitions.codes). The scratch registers give it once."""
        reason = self.scratch.reset_reason(machine.reset_cause() == machine.WDT_RESET)
        if reason == codes.REASON_HANG and machine.mem32[chip.WATCHDOG_REASON] & 2:    # forced: a plain machine.reset()
            return codes.REASON_COMMAND
        return reason

    def commissioned(self):
        """True if this board has run the application before. Before the first coil: the first call writes the flash."""
        try:
            os.stat(_COMMISSIONED)
            return True
        except OSError:
            pass
        try:
            open(_COMMISSIONED, "w").close()
        except OSError:     # no space: the board counts as new again
            pass
        return False

    # -- inputs and outputs

    def read_inputs(self):
        """Digital inputs as IN_* bits of rack.definitions.codes."""
        return _read_pins(self._in_pins, self._in_masks, 6)

    def write_coils(self, coil_bits):
        """Drive the coils, COIL_* bits. Called in every scan.

        The dead-man is armed with the first coil and disarmed after the last. After a change every commanded coil gets
        its full current for _PULL_IN_ms.
        """
        if coil_bits == self._coil_bits:
            if self._pulling_in:
                self._pulling_in -= 1
                if not self._pulling_in:
                    self._drive_coils(self._hold_duty)
            return
        if not self._coil_bits:
            self.arm_enable()
        self._coil_bits = coil_bits
        self._drive_coils(65535)
        self._pulling_in = self._pull_in_scans if self._coil_pwms else 0
        if not coil_bits:
            self.disarm_enable()

    def write_cooling(self, fan_pct, pump_pct, heater):
        """Fan and pump duty 0..100 %, heater 0 or 1."""
        wanted = fan_pct << 9 | pump_pct << 2 | heater
        if wanted == self._cooling:
            return
        self._cooling = wanted
        self._fan.duty_u16(fan_pct * 65535 // 100)
        self._pump.duty_u16(pump_pct * 65535 // 100)
        self._heater(heater)

    def adc_mV(self, channel):
        """ADC_COOLANT or ADC_GAS in mV at the pin, 0..3300."""
        return self._adc[channel].read_u16() * 3300 >> 16

    def adc_ratio(self, channel):
        """Pin voltage over the reference, 0..32767 for 0..1: the ratio of a divider on the reference."""
        return self._adc[channel].read_u16() >> 1

    def board_ddegC(self):
        """Temperature of the die, 0.1 °C; RP2040 data sheet 4.9.5: 0.706 V at 27 °C, -1.721 mV/K."""
        # 12 bits: with 16 bits the product would not be a small integer
        return 270 - (((self._core.read_u16() >> 4) * 33000 >> 12) - 7060) * 1000 // 1721

    def fast_path(self, response, link, recorder):
        """The path from zero crossing to CAN request: `start()` once, `send()` from the scan.

        response: rack.control.response.response.Response; link: rack.comms.pcs_link.PcsLink; recorder: Recorder.
        """
        return FastPath(self._periods, HOLD_OFF_CYCLES, OVERHEAD_TICKS,
                        response, link, recorder, self.can_spi.mask)
