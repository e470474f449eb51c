"""The scan: inputs, protection, coils, then the feed of dead-man and watchdog; and its second half, the plan.

Hazard: outputs that stay on while the schedule has stopped. The dead-man and the watchdog are fed at the end of a
scan in which every critical task is on schedule, and at no other place.
"""

import micropython
from micropython import const

from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.base.clock import TICKS_MASK
from rack.base.viper import ptr32
from rack.control.controller import may_request_power
from rack.definitions import pcs_codes
from rack.definitions.codes import MAINS_SILENT_ms, STATE_CLOSED

_HEALTHY_SCANS = const(50)      # fed scans after which the application reports itself as healthy
_FEEDS_APART_US = const(2_000)  # twice the closed time of the dead-man's window, see rack.hal.rp2_pio


@micropython.viper
def _update_flags(signals: ptr32, link: ptr32, permitted: int) -> int:
    """Set the flags of the next request. 1 if it must be sent at once: permission changed, or no mains sends it.

    permitted: 1 while the rack may request power.
    """
    flags = 0
    if signals[I.STATE] == STATE_CLOSED:
        flags = pcs_codes.FLAG_ENABLE | pcs_codes.FLAG_CLOSE_BUS
    if permitted:
        flags |= pcs_codes.FLAG_PERMIT
    if signals[I.RESPONSE_W]:
        flags |= pcs_codes.FLAG_RESPONSE
    changed = (flags ^ link[L.FLAGS]) & pcs_codes.FLAG_PERMIT
    link[L.FLAGS] = flags
    if changed or signals[I.GRID_AGE_ms] > MAINS_SILENT_ms:
        return 1
    return 0


def _read(shunt):
    return shunt.read()


class ScanTask:
    """app: rack.app.App. healthy: _HEALTHY_SCANS scans were fed. fed_us: when the dead-man last took a feed."""

    def __init__(self, app):
        self.healthy = False
        self.fed_us = 0
        self._port = port = app.port
        self._s = app.controller.s
        self._controller = app.controller
        self._afe = app.afe
        self._shunt = app.shunt
        self._storage = app.storage
        self._recorder = app.recorder
        self._collector = app.collector
        self._link = app.pcs.state
        self._fast_path = app.fast_path
        self._unlocked = app.unlocked
        # a bound method is an object: the locked loop can call these, but cannot make them
        self._write_coils = port.write_coils
        self._record = app.storage.scan
        self._note_opening = app.storage.note_opening
        self._announce = app.console.notice
        self._period_us = app.params.rack_scan_ms * 1000
        self._fed = 0
        self._coils = 0

    def begin(self, scheduler):
        """Before the loop."""
        self._scheduler = scheduler

    def run(self, now_us):
        """Read the inputs, decide, drive the outputs, send a request when the link needs one, feed the dead-man."""
        port = self._port
        s = self._s
        controller = self._controller
        now_ms = port.ticks_ms()
        controller.advance_ages(now_ms)
        s[I.IN_bits] = port.read_inputs()
        s[I.AFE_SEEN] = self._afe.devices_seen
        s[I.TASK_LATE_ms] = self._late_us(now_us) // 1000
        shunt = self._shunt
        if shunt.read() if shunt.ok else self._unlocked(_read, shunt):  # only its configuration allocates
            controller.current_arrived(shunt.current_dA, shunt.rack_dV)
        controller.protect(now_ms)
        coils = s[I.COILS]
        if coils == self._coils:
            self._write_coils(coils)
        else:
            self._coils = coils
            if not coils:
                self._unlocked(self._note_opening, 0)
            self._unlocked(self._write_coils, coils)  # arming the dead-man allocates
        port.write_cooling(s[I.FAN_pct], s[I.PUMP_pct], s[I.HEATER])
        if self._storage.busy():    # after the coils, so that no opening waits for its log record
            self._unlocked(self._record, now_ms)
        if _update_flags(s, self._link, may_request_power(s)):
            self._fast_path.send()
        if self.may_feed(now_us) and port.feed():
            self.fed_us = now_us
            if not self.healthy:
                self._count_fed()
        self._collector.plan(now_us)

    def may_feed(self, now_us):
        """True if every critical task is on schedule.

        False also for a scan right after a late one: two feeds within 1 ms trip the dead-man.
        """
        return (now_us - self.fed_us) & TICKS_MASK > _FEEDS_APART_US and self._scheduler.on_schedule(now_us)

    def plan(self, now_us):
        """Second half of the control core's scan, a task of its own: limits and requested power."""
        self._controller.plan()
        self._recorder.scan()  # after the controller has updated the age of the mains

    def _late_us(self, now_us):
        """Longest wait of a critical task since the last scan, or the delay of the next feed if that is longer, µs.

        A dead-man that has dropped for lack of feeds is then reported as such before its open contacts look stuck.
        """
        late_us = self._scheduler.take_late_us()
        unfed_us = ((now_us - self.fed_us) & TICKS_MASK) - self._period_us
        return late_us if late_us > unfed_us else unfed_us

    def _count_fed(self):
        """Report the application as healthy after enough fed scans."""
        self._fed += 1
        if self._fed == _HEALTHY_SCANS:
            self.healthy = True
            self._unlocked(self._announce, "healthy")
