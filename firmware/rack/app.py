"""The wiring of the application: it makes drivers, control core and links, and runs the task table (rule R4).

The loop runs with the heap locked (rule R3). MicroPython then keeps the frames of larger functions on the stack;
otherwise it searches a nearly full heap for each of them, which made the scan three times as long. Code that
configures a chip, writes over I²C or serves the console may allocate for a moment: it runs through `unlocked`.
An exception ends the schedule for good, with the outputs off; rack.start then shows the reason on the console.
"""

import gc

from micropython import const

from rack.generated import pcs_link_state as L
from rack.comms.commands_read import Commands
from rack.comms.console_protocol import Console
from rack.comms.ems import Ems
from rack.comms.pcs_link import PcsLink
from rack.comms.terminal import Stdio
from rack.control.controller import Controller
from rack.control.response.recorder import Recorder
from rack.definitions import codes
from rack.drivers import ntc
from rack.drivers.afe_chip import make_afe
from rack.drivers.ina228 import Ina228
from rack.drivers.mcp2515 import Mcp2515
from rack.scheduler import Scheduler
from rack.storage.retention import RetainedStore
from rack.tasks.afe import AfeTask
from rack.tasks.collector import COLLECT_US, Collector
from rack.tasks.console import ConsoleTask
from rack.tasks.scan import ScanTask
from rack.tasks.slow import SlowTask

# Worst-case delay before a request is noticed; the EMS's timeout is ten times longer. At any baud rate of a config the
# line receives fewer characters in this time than the 256 that the receiver keeps.
MODBUS_US = const(20_000)


def add_tasks(scheduler, app):
    """The task table, by falling priority. Times in µs.

    The console has the lowest priority: a person can wait, and a long answer would starve any task after it.
    """
    add = scheduler.add
    scan_us = app.params.rack_scan_ms * 1000
    add(codes.TASK_SCAN, "scan", app.scan.run, period_us=scan_us, budget_us=3_000, phase_us=0)
    add(codes.TASK_COLLECT, "collect", app.collector.run, period_us=COLLECT_US, budget_us=20_000, phase_us=COLLECT_US)
    add(codes.TASK_PLAN, "plan", app.scan.plan, period_us=scan_us, budget_us=2_000, phase_us=3_500)
    add(codes.TASK_AFE, "afe", app.afe_task.run, period_us=2_000, budget_us=2_000, phase_us=500)
    add(codes.TASK_PCS, "pcs", app.pcs.poll, period_us=10_000, budget_us=2_000, phase_us=5_000)
    add(codes.TASK_SLOW, "slow", app.slow.run, period_us=100_000, budget_us=2_000, phase_us=7_000)
    add(codes.TASK_STORAGE, "storage", app.slow.poll_storage, period_us=20_000, budget_us=1_000, phase_us=8_500)
    if app.modbus:
        add(codes.TASK_MODBUS, "modbus", app.modbus.poll, period_us=MODBUS_US, budget_us=1_000, phase_us=1_500)
    console = app.console_task.run
    add(codes.TASK_CONSOLE, "console", console, period_us=5_000, budget_us=3_000, phase_us=1_500, background=True)


class App:
    """The running rack. params: rack.config.Params; port: a board of rack.hal; config_crc: CRC-32 of config.bin."""

    def __init__(self, params, port, config_crc):
        self.params = params
        self.port = port
        self.config_crc = config_crc
        self.reset_reason = port.reset_reason()
        self.controller = controller = Controller(params)
        self._make_drivers(params, port, controller)
        self._make_links(params, port, controller)
        self._make_tasks(port)

    def _make_drivers(self, p, port, controller):
        self.ntc_table = ntc.make_table(
            p.sensor_ntc_a_e10, p.sensor_ntc_b_e10, p.sensor_ntc_c_e13, p.sensor_ntc_pullup_ohm)
        self.afe = make_afe(p, port, controller, self.ntc_table)
        self.can = Mcp2515(port.can_spi, p.sensor_can_crystal_MHz, PcsLink.ACCEPT)
        self.shunt = Ina228(port.i2c, p.sensor_shunt_uohm, p.sensor_divider_pct,
                            p.sensor_alert_charge_A, p.sensor_alert_discharge_A)
        self.storage = RetainedStore(port.i2c, controller)

    def _make_links(self, params, port, controller):
        self.pcs = PcsLink(self.can, controller.s)
        self.ems = Ems(params, controller.s)
        self.terminal = Stdio()
        self.console = Console(self.terminal, Commands(self).table, Commands.help)
        self.recorder = Recorder(params, controller.response, controller.s)
        self.fast_path = port.fast_path(controller.response, self.pcs, self.recorder)
        self.modbus = None
        if params.modbus_enabled:
            from rack.comms.modbus_slave import Modbus
            self.modbus = Modbus(self, port.rs485, self.unlocked)

    def _make_tasks(self, port):
        self.collector = Collector(self)
        self.scan = ScanTask(self)
        self.afe_task = AfeTask(self)
        self.console_task = ConsoleTask(self)
        self._idle = self.console_task.idle
        self.slow = SlowTask(self)
        self.scheduler = scheduler = Scheduler(port.ticks_us, port.task_register)
        add_tasks(scheduler, self)
        for task in (self.scan, self.collector, self.afe_task, self.console_task):
            task.begin(scheduler)
        if self.modbus:
            self.modbus.begin(scheduler, scheduler.index_of(codes.TASK_MODBUS))

    def unlocked(self, function, argument):
        """Call with the heap unlocked; only from the loop of `run`."""
        self.port.unlock_heap()
        try:
            return function(argument)
        finally:
            self.port.lock_heap()

    def acknowledge(self, who):
        """A reset of latched trips and of lost retained data by BY_*; 0, or REFUSED_*."""
        refused = self.controller.command(codes.CMD_RESET, who)
        if refused in (codes.REFUSED_LOCKED, codes.REFUSED_STATE):
            return refused
        self.shunt.clear_alert()
        return 0 if self.storage.acknowledge(who) else refused

    def clear(self):
        """Reset worst times and counters (console command)."""
        self.scheduler.clear()
        self.collector.longest_us = self.afe_task.judge_us = self.afe_task.scan_us = 0

    def run(self):
        """Run the schedule; ends only by an exception."""
        port = self.port
        self.storage.start(self.reset_reason, port.scratch.task_before, port.commissioned())
        self.fast_path.start()
        port.arm_wdt(self.params.deadman_wdt_ms)
        self.console.notice("standby")
        gc.collect()
        self.scheduler.begin()
        self.scan.fed_us = self.collector.collected_us = port.ticks_us()
        port.lock_heap()
        try:
            self.scheduler.run(self._idle)
        finally:
            port.unlock_heap()

    def stop(self):
        """Outputs off, zero power requested from the PCS. Called after an exception."""
        self.port.write_coils(0)
        self.port.disarm_enable()
        self.port.write_cooling(100, 100, 0)
        self.pcs.state[L.FLAGS] = 0
        self.controller.response.set_limits(0, 0, 0)
