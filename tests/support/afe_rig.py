"""The common part of the tests of both AFE families: known cells and temperatures, and outputs that start at -1."""

import math
from array import array

from halite.config import load_params
from halite.config.rows import levels_at
from halite.plant.ntc import Ntc
from rack.drivers import ntc
from rack.generated import alarm_levels as L
from rack.tasks.afe import POLL_US

from support.wires import Clock

A_E10, B_E10 = round((1 / 298.15 - math.log(10_000) / 3435) * 1e10), round(1e10 / 3435)
NTC_TABLE = ntc.make_table(A_E10, B_E10, 0, 10_000)
LOST_ms = load_params("lfp_rack").alarms_levels[levels_at("cells_lost") + L.SET]
IN_FLIGHT_us = 20_000  # an answer that is on the wire when the wire breaks may arrive; the longest takes 10 ms


class AfeRig:
    """A subclass makes `driver`, and `stack` with `look` as the source of its voltages."""

    def __init__(self, devices, cells, temps, start_us=0):
        self.clock = Clock(start_us)
        self.volts = [[2.0 + 0.003 * (device * cells + cell) for cell in range(cells)] for device in range(devices)]
        self.celsius = [[-40 + (device * temps + gpio) % 165 for gpio in range(temps)] for device in range(devices)]
        self.sensor = Ntc()
        self.layout = (devices, cells, temps)
        self.cells_mV = array("i", [-1] * (devices * cells))
        self.temps_ddegC = array("i", [-1] * (devices * temps))
        self.outputs = (self.cells_mV, self.temps_ddegC, NTC_TABLE)
        self.scans = []

    def look(self, device):
        return self.volts[device], [self.sensor.ratio(celsius) for celsius in self.celsius[device]]

    def run(self, ms):
        end_us = self.clock.now_us + 1000 * ms
        while self.clock.now_us < end_us:
            self.driver.poll(self.clock.ticks)
            if self.driver.cells_ready:
                self.driver.cells_ready = False
                self.scans.append(self.clock.now_us)
            self.clock.now_us += max(POLL_US, self.driver.pause_us)

    def nothing_read_since(self, since_us):
        """Return True if no cells arrived on a wire that is broken since since_us, and their age trips in time."""
        dead_us = self.clock.now_us - since_us - IN_FLIGHT_us
        age_ms = (self.clock.now_us - self.scans[-1]) // 1000 if self.scans else LOST_ms
        return all(at_us <= since_us + IN_FLIGHT_us for at_us in self.scans) and (
            dead_us < 1000 * LOST_ms or age_ms >= LOST_ms
        )

    def write_astray(self, device, register, value):
        """Change a register of one device without a frame, like a disturbance."""
        self.stack.disturb(device, register, value, self.clock.now_us)

    def change_cells(self):
        for volts in self.volts:
            volts[:] = [cell_V + 0.01 for cell_V in volts]

    def cells_right(self):
        expected = [1000 * volts for device in self.volts for volts in device]
        return all(abs(got - want) <= 1 for got, want in zip(self.cells_mV, expected, strict=True))

    def temps_right(self):
        expected = [10 * celsius for device in self.celsius for celsius in device]
        return all(abs(got - want) <= 2 for got, want in zip(self.temps_ddegC, expected, strict=True))
