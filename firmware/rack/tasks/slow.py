"""The task of slow inputs, each 100 ms: coolant, gas, board temperature, AFE state, limits frame, CPU share.

A second task of this module runs one step of the retained data and the log each 20 ms.
"""

from micropython import const

from rack.generated import ids as I
from rack.base.clock import TICKS_MASK
from rack.control.sense.message_ages import arrived
from rack.drivers import ntc

_SHARE_US = const(1_000_000)    # time over which the CPU share is measured


class SlowTask:
    """app: rack.app.App, with its console task. busy_permille: share of the last second that was not idle."""

    def __init__(self, app):
        self.busy_permille = 0
        self._port = app.port
        self._s = app.controller.s
        self._soc = app.controller.soc
        self._ntc_table = app.ntc_table
        self._afe = app.afe
        self._wire_checks = 1
        self._pcs = app.pcs
        self._shunt = app.shunt
        self._console = app.console_task
        self._unlocked = app.unlocked
        self._storage_poll = app.storage.poll
        self._share_us = app.port.ticks_us()

    def run(self, now_us):
        """Read the slow inputs and send the limits frame; once a second the CPU share and the charge counter."""
        port = self._port
        s = self._s
        afe = self._afe
        s[I.COOLANT_ddegC] = ntc.look_up(self._ntc_table, port.adc_ratio(port.ADC_COOLANT))
        s[I.GAS_mV] = port.adc_mV(port.ADC_GAS)
        s[I.BOARD_ddegC] = port.board_ddegC()
        s[I.AFE_FAULT] = afe.fault
        s[I.LINK_BROKEN] = 1 if afe.link_broken else 0
        s[I.WIRE_CHECK] = afe.open_wire() if any(afe.open_wires) else 0
        if afe.wire_checks != self._wire_checks or afe.wire_checks == 0:
            self._wire_checks = afe.wire_checks
            arrived(s, I.WIRE_CHECK_AGE_ms)
        self._pcs.send_limits()
        shunt = self._shunt
        elapsed_us = (now_us - self._share_us) & TICKS_MASK
        if elapsed_us < _SHARE_US:
            shunt.check()
            return
        console = self._console
        self.busy_permille = 1000 - console.idle_us // (elapsed_us // 1000)
        console.idle_us = 0
        self._share_us = now_us
        if shunt.read_charge():
            self._soc.metered(shunt.charge_dAs, shunt.charge_whole)

    def poll_storage(self, now_us):
        """One step of the retained data and the log, a task of its own: a write over I²C allocates."""
        self._unlocked(self._storage_poll, now_us)
