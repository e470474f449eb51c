"""The wires between the pins of an emulated board and a simulated rack. They only transfer values.

Chip models are in halite.chips, physics in halite.plant. Times are the board's, in us since it was made.
"""

from collections.abc import Mapping

from rp2040py.gpio_pin import GPIOPinState
from rp2040py.peripherals.adc import RPADC

from halite.chips.attach import Chips, coolant_ratio
from halite.chips.can_bus import Frame
from halite.common.paths import use_firmware
from halite.emulator.board import EmulatedBoard
from halite.emulator.coil_driver import CoilDriver
from halite.emulator.rp2040py_fixes.pwm import duty
from halite.emulator.rp2040py_fixes.uart import SerialLine
from halite.plant.rack import Rack

use_firmware()

from rack.definitions.codes import COIL_NEG, COIL_POS, COIL_PRE  # noqa: E402 - only after use_firmware

_TICK_MS = 1.0
_ADC_FULL, _ADC_REFERENCE_mV = 4095, 3300.0
_CORE_CHANNEL = 4
_TRANSMIT_COMMANDS = (*range(0x40, 0x46), *range(0x81, 0x88))  # MCP2515: LOAD TX BUFFER, RTS
_CROSSINGS = ("zero_crossing_a", "zero_crossing_b", "zero_crossing_c")


class _GridWire:
    """The comparator of one phase: the pin's level follows the sign of the mains voltage at the exact time."""

    def __init__(self, board: EmulatedBoard, rack: Rack, phase: int, pin: int) -> None:
        self._board = board
        self._rack = rack
        self._phase = phase
        self._pin = pin
        self._alarm = board.clock.create_alarm(self._arrives)
        self._edge: tuple[float, int] | None = None
        self._last_us = 0.0

    def aim(self) -> None:
        """Schedule the first zero crossing after the last one. Call it again after each change of the grid."""
        self._edge = self._rack.grid.next_crossing(self._last_us + 1.0, phase=self._phase)
        if self._edge:
            self._alarm.schedule(max(self._edge[0] - self._board.now_us, 0.0) * 1000.0)
        else:
            self._alarm.cancel()

    def _arrives(self) -> None:
        if self._edge is None:
            return
        self._last_us = self._edge[0]
        rising = bool(self._edge[1])
        if rising:
            self._board.record("mains", 1, self._phase)
        self._board.rp2040.gpio[self._pin].set_input_value(rising)
        self.aim()


class RackWires:
    """Wires one board to one rack, for the life of the board. pins: the [pins] table of a board's pin map."""

    def __init__(self, board: EmulatedBoard, pins: Mapping[str, int], rack: Rack, chips: Chips) -> None:
        self.board = board
        self.rack = rack
        self.chips = chips
        self._pins = pins
        self._clock = board.clock
        self._levels: dict[int, bool] = {}
        self.coil_driver = CoilDriver(
            board,
            pins["coil_enable"],
            {COIL_NEG: pins["coil_main_neg"], COIL_PRE: pins["coil_precharge"], COIL_POS: pins["coil_main_pos"]},
            self._coils_changed,
        )
        self._wire_afe()
        self._wire_afe_spi()
        self._wire_can()
        self._wire_i2c()
        self._wire_adc()
        self._tick_alarm = self._clock.create_alarm(self._tick)
        self._contact_alarm = self._clock.create_alarm(self._contact_moves)
        self._grid_wires = [
            _GridWire(board, rack, phase, pins[name]) for phase, name in enumerate(_CROSSINGS) if pins[name] >= 0
        ]
        self._contacts: tuple[bool, bool, bool] = (False, False, False)
        board.power_listeners.append(self._power_returned)
        self._tick()

    # -- inputs of the board -----------------------------------------------------------------

    def refresh(self) -> None:
        """Transfer every input now. Call it when a fault starts or ends between two ticks of 1 ms."""
        now_us = self.board.now_us
        rack = self.rack
        rack.step_to(now_us)
        rack.set_cooling(self._percent("fan_pwm"), self._percent("pump_pwm"), self._heater_on())
        self.chips.ina228.advance(now_us)
        self._drive("hvil", rack.hvil)
        self._drive("estop", rack.estop)
        self._drive("oc_alert", "oc_alert" not in rack.faults and not self.chips.ina228.alert)
        self._drive("aux_main_pos", rack.main_pos.aux(now_us))
        self._drive("aux_main_neg", rack.main_neg.aux(now_us))
        self._drive("coolant_flow", rack.coolant_flow)
        self._note_contacts(now_us)
        for wire in self._grid_wires:
            wire.aim()

    def _tick(self) -> None:
        self.refresh()
        self._tick_alarm.schedule(_TICK_MS * 1e6)

    def _drive(self, name: str, level: bool) -> None:
        pin = self._pins[name]
        if pin < 0 or self._levels.get(pin) == level:
            return
        self._levels[pin] = level
        self.board.rp2040.gpio[pin].set_input_value(level)
        self.board.record("input", name, int(level))

    # -- outputs of the board ----------------------------------------------------------------

    def _coils_changed(self, coils: int) -> None:
        now_us = self.board.now_us
        self.rack.step_to(now_us)
        self.rack.set_coils(coils, now_us)
        self._aim_contacts(now_us)

    def _aim_contacts(self, now_us: float) -> None:
        rack = self.rack
        moves = [c.next_change_us() for c in (rack.main_neg, rack.precharge, rack.main_pos)]
        due = [us for us in moves if us is not None]
        if due:
            self._contact_alarm.schedule(max(min(due) - now_us, 0.0) * 1000.0 + 1.0)

    def _contact_moves(self) -> None:
        self.refresh()
        self._aim_contacts(self.board.now_us)

    def _note_contacts(self, now_us: float) -> None:
        rack = self.rack
        now = (rack.main_neg.closed(now_us), rack.precharge.closed(now_us), rack.main_pos.closed(now_us))
        for name, was, closed in zip(("main_neg", "precharge", "main_pos"), self._contacts, now, strict=True):
            if was != closed:
                self.board.record("contact", name, int(closed))
        self._contacts = now

    def _percent(self, name: str) -> int:
        pin = self._pins[name]
        return round(100 * duty(self.board.rp2040, pin)) if pin >= 0 else 0

    def _heater_on(self) -> int:
        pin = self._pins["heater"]
        return int(pin >= 0 and self.board.rp2040.gpio[pin].value == GPIOPinState.HIGH)

    # -- buses ---------------------------------------------------------------------------------

    def _wire_afe(self) -> None:
        if self._pins["afe_tx"] < 0:
            return
        uart = self.board.corrected.uart[0]
        line = SerialLine(uart)
        afe = self.chips.afe
        afe.transmit = line.send
        uart.on_byte = lambda byte: afe.receive(byte, self.board.now_us)
        low_since: list[float] = []

        def transmit_line_changed(new: GPIOPinState, old: GPIOPinState) -> None:
            if new == GPIOPinState.LOW:
                low_since[:] = [self.board.now_us]
            elif low_since:
                afe.wake(self.board.now_us - low_since.pop(), self.board.now_us)

        self.board.rp2040.gpio[self._pins["afe_tx"]].add_listener(transmit_line_changed)

    def _wire_afe_spi(self) -> None:
        """The LTC6813 stack on SPI1, for a rack that has one."""
        chip = self.chips.ltc6813
        if chip is None:
            return

        def select_changed(new: GPIOPinState, old: GPIOPinState) -> None:
            if new == GPIOPinState.LOW:
                chip.select(self.board.now_us)
            elif old == GPIOPinState.LOW:
                chip.deselect(self.board.now_us)

        self.board.rp2040.gpio[self._pins["afe_cs"]].add_listener(select_changed)
        self.board.corrected.spi[1].exchange = lambda value: chip.exchange(value, self.board.now_us)

    def _wire_can(self) -> None:
        chip, bus = self.chips.mcp2515, self.chips.can_bus
        self._can_alarm = self._clock.create_alarm(self._can_due)
        self._selected = False
        self._fresh = False
        self.board.rp2040.gpio[self._pins["can_cs"]].add_listener(self._select_changed)
        self.board.corrected.spi[0].exchange = self._spi_byte
        chip.on_interrupt = lambda low, at_us: None
        bus.listeners.append(self._frame_seen)
        self._can_due()

    def _select_changed(self, new: GPIOPinState, old: GPIOPinState) -> None:
        selected = new == GPIOPinState.LOW
        if selected == self._selected:
            return
        self._selected = selected
        now_us = self.board.now_us
        if selected:
            self._fresh = True
            self._selected_at_us = now_us
            self.chips.mcp2515.select(now_us)
        else:
            self.chips.mcp2515.deselect(now_us)
            self._can_due()

    def _spi_byte(self, value: int) -> int:
        if not self._selected:
            return 0xFF
        if self._fresh:
            self._fresh = False
            if value in _TRANSMIT_COMMANDS:
                self.board.record("can_spi", value, self._selected_at_us)
        return self.chips.mcp2515.exchange(value, self.board.now_us)

    def _can_due(self) -> None:
        now_us = self.board.now_us
        bus = self.chips.can_bus
        bus.run_to(now_us)
        next_us = bus.next_event_us()
        if next_us < 1e15:
            self._can_alarm.schedule(max(next_us - now_us, 0.0) * 1000.0 + 1.0)

    def _frame_seen(self, frame: Frame, end_us: float) -> None:
        self.board.record("can", frame.id, bytes(frame.data))

    def _wire_i2c(self) -> None:
        chips = self.board.corrected.i2c[1].chips
        for chip in (self.chips.ina228, self.chips.fram):
            chips[chip.address] = chip

    def _wire_adc(self) -> None:
        adc: RPADC = self.board.rp2040.adc
        convert = adc._default_on_adc_read

        def sample(channel: int) -> None:
            adc.channel_values[channel] = self._adc_counts(channel)
            convert(channel)

        adc.on_adc_read = sample

    def _adc_counts(self, channel: int) -> int:
        rack = self.rack
        if channel == _CORE_CHANNEL:  # data sheet 4.9.5: 706 mV at 27 degC, -1.721 mV/K
            share = (706.0 - 1.721 * (rack.board_degC - 27.0)) / _ADC_REFERENCE_mV
        elif channel == self._pins["coolant_adc"] - 26:
            share = coolant_ratio(rack)
        elif channel == self._pins["gas_adc"] - 26:
            share = rack.gas_mV / _ADC_REFERENCE_mV
        else:
            share = 0.0
        return max(0, min(_ADC_FULL, round(share * _ADC_FULL)))

    def _power_returned(self) -> None:
        """Reset the chips, which share the board's supply; the cells supply the AFEs."""
        self.chips.mcp2515.reset(self.board.now_us)
        self.chips.ina228.reset()
        self.chips.fram.power_cycle()
