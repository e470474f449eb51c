"""The application: drivers in, control core, outputs out, on a fixed schedule (rule R4).

The loop runs with the heap locked (rule R3). MicroPython then keeps the frames of larger functions on
the stack; otherwise it looks for room for each in a nearly full heap, which made the scan three times as
long. What sets up a chip, writes over I²C or talks to people may allocate for a moment: it goes through `_unlocked`.

Three storeys meet only here. The dead-man and the watchdog are fed at the end of a scan in which
every task has advanced; whatever else happens, they are not. An exception leaves the schedule for
good, with the outputs off, and the reason stays readable on the console.
"""

import gc

from micropython import const

from rack.generated import ids as I
from rack.generated import pcs_link_state as L
from rack.definitions import pcs_codes
from rack.comms.commands_read import Commands
from rack.comms.console_protocol import Console
from rack.comms.pcs_link import PcsLink
from rack.comms.ems import Ems
from rack.comms.terminal import Stdio
from rack.definitions.codes import AFE_RUN, CMD_RESET, MAINS_SILENT_ms, STATE_CLOSED
from rack.control.controller import Controller, may_request_power
from rack.control.response.recorder import Recorder
from rack.drivers import ntc
from rack.drivers.afe import make_afe
from rack.drivers.ina228 import Ina228
from rack.drivers.mcp2515 import Mcp2515
from rack.scheduler import Scheduler
from rack.storage.retention import Memory
from rack.storage.table_guard import TableGuard

_MASK = const(0x3FFFFFFF)
_HEALTHY_SCANS = const(50)  # fed scans after which the application calls itself healthy
_COLLECT_US = const(10_000_000)
_APART_US = const(500_000)  # between two collections: one fault's reaction meets one of them at most
_SCAN = const(0)  # places among the tasks, see App._tasks
_COLLECT = const(1)
_AFE = const(3)
_MODBUS = const(7)
_POLL_US = const(1_200)  # from one poll of the AFEs to the next, at least
# A collection must not make late what is late already: none begins while the cells are so old, until they are lost.
_OLD_ms = const(65)  # of 100 between two scans, less a collection and the answer: engineering judgement
_LOST_ms = const(200)  # above the shipped `[alarms] cells_lost`, 160; the periodic collection is planned as much early
_MODBUS_US = const(20_000)  # a request is noticed so late at most; the EMS's patience is ten times that
_SHARE_US = const(1_000_000)
_APART_FED_US = const(2_000)
_LONG_US = const(6_500)  # something long: counting the heap, 5 ms on the emulated board, and the interrupts meanwhile
_SLICES = const(64)  # of a long answer, then a collection: each leaves some 100 bytes behind
_PUT_OFF = const(20)  # then the scan waits: `service` comes through on a rack without a quiet moment. 0.1 s: judgement


def _read(shunt):
    return shunt.read()


def _flush(console):
    return console.flush()


class App:
    """The running rack. params: rack.config.Params; port: a Port of rack.hal."""

    def __init__(self, params, port, config_crc):
        self.params = params
        self.port = port
        self.config_crc = config_crc
        self.healthy = False
        self.collect_us = 0  # longest collection
        self.judge_us = 0  # longest evaluation of an AFE scan, all its slices
        self.afe_scan_us = 0  # longest AFE scan, request to last temperature
        self.busy_permille = 0  # share of the last second that was not idle
        self._scan_us = params.rack_scan_ms * 1000
        self._judging_us = 0
        self._to_judge = False  # temperatures are judged, the runaway is not yet
        self._idle_us = 0
        self._share_us = port.ticks_us()
        self.controller = controller = Controller(params)
        self._s = controller.s
        self._table = ntc.make_table(
            params.sensor_ntc_a_e10, params.sensor_ntc_b_e10, params.sensor_ntc_c_e13, params.sensor_ntc_pullup_ohm
        )
        self.afe = make_afe(params, port, controller, self._table)
        self.can = Mcp2515(port.can_spi, params.sensor_can_crystal_MHz, PcsLink.ACCEPT)
        self.pcs = PcsLink(self.can, controller.s)
        self.shunt = Ina228(
            port.i2c,
            params.sensor_shunt_uohm,
            params.sensor_divider_pct,
            params.sensor_alert_charge_A,
            params.sensor_alert_discharge_A,
        )
        self.memory = Memory(port.i2c, controller)
        self._guard = TableGuard(params)
        self.reset_reason = port.reset_reason()
        self.ems = Ems(params, controller.s)
        self._stdio = Stdio()
        self.console = Console(self._stdio, Commands(self).table, Commands.help)
        self.recorder = Recorder(params, controller.response, controller.s)
        self._link = self.pcs.state
        self._fast = port.fast_path(controller.response, self.pcs, self.recorder)
        self._fed = 0
        self._fed_us = 0  # when the dead-man last took a feed
        self._coils = 0
        self._collect_due = False
        self._slices = 0  # of answers since a collection was asked for
        self._put_off = 0  # turns of the console, for a scan that was near
        self._late_ms = params.afe_period_ms + 10
        self._collected_us = 0
        self._lock_heap = port.lock_heap
        self._unlock_heap = port.unlock_heap
        # a bound method is an object: the locked loop can call these, but not make them
        self._write_coils = port.write_coils
        self._afe_poll = self.afe.poll
        self._memory_poll = self.memory.poll
        self._remember = self.memory.scan
        self._conversing = self._converse
        self._announce = self.console.notice
        self.modbus = None
        if params.modbus_enabled:
            from rack.comms.modbus_slave import Modbus

            self.modbus = Modbus(self, port.rs485, self._unlocked)
        self.scheduler = Scheduler(self._tasks(), port.ticks_us, port.task_register, 1)
        self._console_at = len(self.scheduler.names) - 1
        if self.modbus:
            self.modbus.begin(self.scheduler, _MODBUS)

    def _unlocked(self, function, argument):
        """Call with the heap unlocked; only from the loop of `run`."""
        self._unlock_heap()
        try:
            return function(argument)
        finally:
            self._lock_heap()

    def _tasks(self):
        """(name, function, period µs, budget µs, phase µs) in order of priority.

        The console is the last, and patient: a person can wait; a long answer leaves no time to who comes behind.
        """
        modbus = (("modbus", self.modbus.poll, _MODBUS_US, 1_000, 1_500),) if self.modbus else ()
        return (
            ("scan", self._scan, self._scan_us, 3_000, 0),
            ("collect", self._collect, _COLLECT_US, 20_000, _COLLECT_US),
            ("plan", self._plan, self._scan_us, 2_000, 3_500),
            ("afe", self._poll_afe, 2_000, 2_000, 500),
            ("pcs", self.pcs.poll, 10_000, 2_000, 5_000),
            ("slow", self._slow, 100_000, 2_000, 7_000),
            ("memory", self._poll_memory, 20_000, 1_000, 8_500),
        ) + modbus + (("console", self._poll_console, 5_000, 3_000, 1_500),)

    # -- tasks

    def _scan(self, now_us):
        port = self.port
        s = self._s
        controller = self.controller
        now_ms = port.ticks_ms()
        controller.advance_ages(now_ms)
        s[I.IN_bits] = port.read_inputs()
        s[I.AFE_SEEN] = self.afe.devices_seen
        s[I.TASK_LATE_ms] = self._late_us(now_us) // 1000
        shunt = self.shunt
        if shunt.read() if shunt.ok else self._unlocked(_read, shunt):  # only configuring it allocates
            controller.current_arrived(shunt.current_dA, shunt.rack_dV)
        controller.protect(now_ms)
        coils = s[I.COILS]
        if coils == self._coils:
            self._write_coils(coils)
        else:
            self._coils = coils
            self._unlocked(self._write_coils, coils)  # arming the dead-man allocates
        port.write_cooling(s[I.FAN_pct], s[I.PUMP_pct], s[I.HEATER])
        if self.memory.busy():      # after the coils: no opening waits for its record
            self._unlocked(self._remember, now_ms)
        self._update_link()
        if self._may_feed(now_us) and port.feed():
            self._fed_us = now_us
            self._count_fed()
        self._plan_collection(now_us)

    def _may_feed(self, now_us):
        """Does every task advance? A scan at once behind a late one leaves it: two feeds in 1 ms drop the dead-man."""
        return (now_us - self._fed_us) & _MASK > _APART_FED_US and self.scheduler.all_advance(now_us)

    def scan_is_far(self):
        """Is there time for something long before the next scan?"""
        return self.scheduler.until_us(_SCAN, self.port.ticks_us()) > _LONG_US

    def _plan_collection(self, now_us):
        """Let a collection follow this scan at once, so that it is over as early as can be before the next one.

        Anywhere else in the period it would make the next scan later still. None begins while the next scan may find
        the mains lost, or while cells are waited for. At the end of the scan.
        """
        passed_us = (now_us - self._collected_us) & _MASK
        if passed_us < (_APART_US if self._collect_due else _COLLECT_US - _LOST_ms * 1000 + 1):
            return
        if not (self.controller.response.doubtful or _OLD_ms <= self._s[I.CELLS_AGE_ms] < _LOST_ms):
            self.scheduler.ask(_COLLECT, now_us, 0)

    def _plan(self, now_us):
        """The second half of the control core's scan: limits and the power to ask for."""
        self.controller.plan()
        self.recorder.scan()  # after the age of the mains is known

    def _late_us(self, now_us):
        """The longest wait of a task since the last scan, or how late the next feed is.

        So a dead-man that has dropped for want of feeds is named before its open contacts look stuck.
        """
        late_us = self.scheduler.take_late_us()
        unfed_us = ((now_us - self._fed_us) & _MASK) - self._scan_us
        return late_us if late_us > unfed_us else unfed_us

    def _update_link(self):
        """Flags of the next request; a request at once when they change, or when no mains sends them."""
        s = self._s
        flags = 0
        if s[I.STATE] == STATE_CLOSED:
            flags = pcs_codes.FLAG_ENABLE | pcs_codes.FLAG_CLOSE_BUS
            if may_request_power(s):
                flags |= pcs_codes.FLAG_PERMIT
        if s[I.RESPONSE_W]:
            flags |= pcs_codes.FLAG_RESPONSE
        link = self._link
        changed = (flags ^ link[L.FLAGS]) & pcs_codes.FLAG_PERMIT
        link[L.FLAGS] = flags
        if changed or s[I.GRID_AGE_ms] > MAINS_SILENT_ms:
            self._fast.send()

    def _count_fed(self):
        if self._fed < _HEALTHY_SCANS:
            self._fed += 1
            if self._fed == _HEALTHY_SCANS:
                self.healthy = True
                self._unlocked(self._announce, "healthy")

    def _poll_afe(self, now_us):
        """One step of the AFE's driver, or one of judging what it has read."""
        afe = self.afe
        if afe.cells_ready or afe.temps_ready or self._to_judge:
            self._judge(afe)
        elif afe.state == AFE_RUN:
            afe.poll(now_us)
        else:
            self._unlocked(self._afe_poll, now_us)
        wait_us = afe.pause_us
        if wait_us < _POLL_US:
            wait_us = _POLL_US
        self.scheduler.ask(_AFE, now_us, wait_us)

    def _poll_memory(self, now_us):
        self._unlocked(self._memory_poll, now_us)

    def _judge(self, afe):
        start_us = self.port.ticks_us()
        if afe.cells_ready:
            afe.cells_ready = False
            self._judging_us = 0
            self.controller.cells_arrived()
        elif self._to_judge:
            self._to_judge = False
            self.controller.judge_runaway()
        else:
            afe.temps_ready = False
            self._to_judge = True
            self.controller.judge_temps()
        self._judging_us += (self.port.ticks_us() - start_us) & _MASK
        self.judge_us = max(self.judge_us, self._judging_us)
        self.afe_scan_us = max(self.afe_scan_us, afe.scan_us)

    def _slow(self, now_us):
        port = self.port
        s = self._s
        s[I.COOLANT_ddegC] = ntc.look_up(self._table, port.adc_ratio(port.ADC_COOLANT))
        s[I.GAS_mV] = port.adc_mV(port.ADC_GAS)
        s[I.BOARD_ddegC] = port.board_ddegC()
        s[I.AFE_FAULT] = self.afe.fault
        s[I.LINK_BROKEN] = 1 if self.afe.link_broken else 0
        s[I.WIRE_CHECK] = self.afe.open_wire() if any(self.afe.open_wires) else 0
        self.pcs.send_limits()
        shunt = self.shunt
        elapsed_us = (now_us - self._share_us) & _MASK
        if elapsed_us < _SHARE_US:
            shunt.check()
            return
        self.busy_permille = 1000 - self._idle_us // (elapsed_us // 1000)
        self._idle_us = 0
        self._share_us = now_us
        if shunt.read_charge():
            self.controller.soc.metered(shunt.charge_dAs, shunt.charge_whole)

    def _poll_console(self, now_us):
        stdio = self._stdio
        if self.console.busy or stdio.waiting or stdio.has_come():
            if self._may_answer(now_us):
                self._unlocked(self._conversing, now_us)
            elif not self._cells_wait():
                self._put_off += 1

    def _may_answer(self, now_us):
        """No scan is near, or the console was put off for long enough; and no cells are waited for.

        A slice takes up to 3 ms of a scan's 10. Of shorter scans the share is the same, else no answer would begin.
        """
        far = self.scheduler.until_us(_SCAN, now_us) > self._scan_us * 3 // 10
        return (far or self._put_off >= _PUT_OFF) and not self._cells_wait()

    def _cells_wait(self):
        """Are cells late, or the AFEs set up anew, but nothing lost yet? An answer would bring the trip nearer."""
        age_ms = self._s[I.CELLS_AGE_ms]
        return age_ms < _LOST_ms and (age_ms > self._late_ms or self.afe.state != AFE_RUN)

    def _converse(self, now_us):
        answering = self.console.busy
        self._put_off = 0
        self.console.poll()
        self._slices += answering
        if self._slices >= _SLICES or (answering and not self.console.busy):
            self._slices = 0
            self._collect_due = True

    def _collect(self, now_us):
        """Give back what answers on the console have used; the control core itself allocates nothing."""
        start_us = self.port.ticks_us()
        self._collect_due = False
        self._collected_us = now_us
        self._unlock_heap()
        if not self._guard.intact():
            self._s[I.CONFIG_BAD] = 1
        gc.collect()
        self._lock_heap()
        self.collect_us = max(self.collect_us, (self.port.ticks_us() - start_us) & _MASK)

    def acknowledge(self):
        """The operator's reset of latched trips; 0, or REFUSED_*."""
        refused = self.controller.command(CMD_RESET)
        if not refused:
            self.shunt.clear_alert()
            self.memory.acknowledge()
        return refused

    def clear(self):
        """Forget worst times and counters (console command)."""
        self.scheduler.clear()
        self.collect_us = self.judge_us = self.afe_scan_us = 0

    # -- start and stop

    def run(self):
        """Never returns but by an exception."""
        self.memory.start(self.reset_reason, self.port.scratch.task_before)
        self._fast.start()
        self.port.arm_wdt(self.params.deadman_wdt_ms)
        self.console.notice("standby")
        scheduler = self.scheduler
        idle = self._idle
        gc.collect()
        scheduler.begin()
        self._fed_us = self._collected_us = self.port.ticks_us()
        self._lock_heap()
        try:
            scheduler.run(idle)
        finally:
            self._unlock_heap()

    def _idle(self, due_us):
        """Until due_us no task is due: go on with an answer, or let the processor sleep."""
        port = self.port
        start_us = port.ticks_us()
        if self.console.busy and self._may_answer(start_us):
            self.scheduler.ask(self._console_at, start_us, 0)  # as its task: counted, and named should it not return
            return
        if self._stdio.waiting:
            if self._unlocked(_flush, self.console):
                return
            due_us = start_us       # only until the next interrupt: the terminal may take bytes again
        port.sleep(due_us)
        self._idle_us += (port.ticks_us() - start_us) & _MASK

    def stop(self):
        """Outputs off, PCS request zero. After an exception."""
        self.port.write_coils(0)
        self.port.disarm_enable()
        self.port.write_cooling(100, 100, 0)
        self._link[L.FLAGS] = 0
        self.controller.response.set_limits(0, 0, 0)
