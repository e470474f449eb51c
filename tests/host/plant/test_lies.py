"""Each kind of lie, and the same lie in both faces: the process image of the control core and the chip models."""

from itertools import pairwise

import numpy as np
import pytest
from halite.chips import attach
from halite.config import load_params
from halite.hosts.cpython import CpythonHost
from halite.plant.rack import Rack
from rack.control.controller import Controller
from rack.definitions.pcs_codes import REQUEST_ID, STATUS_ID
from rack.generated import ids as I

PARAMS = load_params("sodium_rack")


# one test per mode, on a channel of the rack and on one of the cells


def lying(name, value=None, at=0):
    """A rack at rest with a lie, and one without it."""
    racks = [Rack.from_params(PARAMS) for _ in range(2)]
    racks[0].start_fault(name, at, value)
    return racks


@pytest.mark.parametrize("mode, expected", [
    ("gain", lambda V: 1.5 * V), ("offset", lambda V: V + 1.5), ("stuck", lambda V: 1.5),
])  # fmt: skip
def test_gain_offset_and_stuck_are_exact(mode, expected):
    """These three lies hold for one cell, for the rack voltage, and only there."""
    liar, honest = lying(f"cell_{mode}", 1.5, 3)
    cells, true = liar.measured_cells_V(), honest.measured_cells_V()
    assert cells[3] == pytest.approx(expected(true[3]))
    assert (np.delete(cells, 3) == np.delete(true, 3)).all()
    liar, honest = lying(f"rack_voltage_{mode}", 1.5)
    assert liar.measured_rack_V == pytest.approx(expected(honest.measured_rack_V))
    assert liar.string_V == honest.string_V


def test_a_reversed_sensor_has_the_opposite_sign():
    """Current and reported power change their signs."""
    rack = Rack.from_params(PARAMS)
    rack.current_A, rack.pcs.power_W = 120.0, -7000.0
    rack.start_fault("current_sign")
    rack.start_fault("pcs_power_sign")
    assert (rack.measured_current_A, rack.measured_pcs_power_W) == (-120.0, 7000.0)


def test_a_frozen_reading_stays_where_it_was():
    """A frozen reading keeps the value of the fault's start until its end, a stuck one the value of the fault."""
    rack = Rack.from_params(PARAMS)
    rack.bus_V = 700.0
    rack.start_fault("bus_voltage_frozen")
    rack.bus_V = 900.0
    assert rack.measured_bus_V == 700.0
    rack.stop_fault("bus_voltage_frozen")
    assert rack.measured_bus_V == 900.0
    rack.start_fault("bus_voltage_frozen")
    assert rack.measured_bus_V == 900.0


def test_a_delayed_reading_comes_late_by_its_time():
    """A delayed reading shows the truth of its delay ago, and before that the truth of the fault's start."""
    rack = Rack.from_params(PARAMS)
    rack.start_fault("bus_voltage_delayed", 0, 0.5)
    seen = []
    for n in range(1, 21):
        rack.step_to(n * 100_000)
        rack.bus_V = float(n)
        seen.append(rack.measured_bus_V)
    assert seen[:5] == [0.0] * 5
    assert seen[6:] == [float(n) for n in range(2, 16)]


def test_a_drifting_sensor_moves_with_time():
    """A drift of -6 K/min is -1 K after ten seconds, measured from the fault's start."""
    rack = Rack.from_params(PARAMS)
    rack.step_to(3_000_000)
    rack.start_fault("ntc_drift", 4, -6.0)
    rack.step_to(13_000_000)
    assert rack.measured_temps_degC()[4] - rack.heat.surface_degC[4] == pytest.approx(-1.0)


def test_noise_has_its_rms_and_depends_on_time_only():
    """Noise has its rms and no mean; readings at the same time agree, also in another rack of the same seed."""
    racks = [Rack.from_params(PARAMS) for _ in range(2)]
    errors = []
    for rack in racks:
        rack.start_fault("rack_voltage_noise", 0, 5.0)
    for n in range(400):
        for rack in racks:
            rack.step_to(n * 1000)
        racks[1].sample()
        assert racks[0].measured_rack_V == racks[1].measured_rack_V
        errors.append(racks[0].measured_rack_V - racks[0].string_V)
    assert np.std(errors) == pytest.approx(5.0, rel=0.15)
    assert abs(np.mean(errors)) < 1.0


def test_lies_of_one_channel_add_up():
    """A late and scaled reading is both."""
    rack = Rack.from_params(PARAMS)
    rack.bus_V = 100.0
    rack.start_fault("bus_voltage_frozen")
    rack.start_fault("bus_voltage_gain", 0, 2.0)
    rack.start_fault("bus_voltage_offset", 0, 3.0)
    rack.bus_V = 500.0
    assert rack.measured_bus_V == 203.0


def test_a_frozen_afe_keeps_cells_and_temperatures():
    """The registers of one AFE stand still while the truth moves; its neighbour follows the truth."""
    rack = Rack.from_params(PARAMS)
    rack.start_fault("afe_frozen", 1)
    cells, temps = rack.measured_cells_V(), rack.measured_temps_degC()
    rack.start_fault("cell_shorted", 20, 0.1)
    rack.start_fault("cell_shorted", 32, 0.1)
    rack.heat.surface_degC += 5.0
    here, there = slice(16, 32), slice(8, 16)
    assert (rack.measured_cells_V()[here] == cells[here]).all()
    assert (rack.measured_temps_degC()[there] == temps[there]).all()
    assert rack.measured_cells_V()[32] == pytest.approx(cells[32] - 0.1)
    assert rack.measured_temps_degC()[16] == pytest.approx(temps[16] + 5.0)


# both faces


def values_face(name, value, at=0):
    """The process image of a controller on a rack with a fault, and the rack."""
    rack = Rack.from_params(load_params("bench_rack"))
    host = CpythonHost(rack, Controller(load_params("bench_rack")))
    host.run_to(500_000)
    rack.start_fault(name, at, value)
    host.run_to(1_000_000)
    return host.controller, rack


def status_frame(chips, at_us):
    """The fields of the newest status frame on the bus after 25 ms."""
    chips.can_bus.nodes.append(Listener())
    chips.can_bus.run_to(at_us + 25_000)
    frame = [frame for _, frame in chips.can_bus.log if frame.id == STATUS_ID][-1]
    return chips.pcs_node.codec.unpack(frame)


class Listener:
    """A node that acknowledges every frame."""

    def __init__(self):
        self.frames = []

    def acknowledges(self):
        return True

    def received(self, frame, at_us):
        self.frames.append((at_us, frame))

    def sent(self, frame, at_us):
        raise AssertionError("this node sends no frames")

    def failed(self, frame, at_us, acknowledged):
        return False


@pytest.mark.parametrize("name, value, signal, field, scale", [
    ("bus_voltage_stuck", 123.4, I.BUS_dV, "bus_voltage", 10), ("pcs_power_stuck", -4321.0, I.PCS_POWER_W, "power", 1),
    ("pcs_state_stuck", 4.0, I.PCS_STATE, "state", 1), ("pcs_echo_stuck", 9.0, I.PCS_ECHO, "echo", 1),
    ("pcs_fault_code", 7.0, I.PCS_FAULT, "fault", 1), ("pcs_forged", 77.0, I.BUS_dV, "bus_voltage", 10),
])  # fmt: skip
def test_both_faces_report_the_same_lie_of_the_pcs(name, value, signal, field, scale):
    """Values face and status frame carry the value of the lie."""
    controller, rack = values_face(name, value)
    assert controller.s[signal] == round(value * scale)
    assert status_frame(attach.chips_of(rack), rack.now_us)[field] == round(value * scale)


def test_both_faces_read_the_same_lies_of_the_sensors():
    """Current sensor, coolant, gas, cells and temperatures: the chip models and the process image agree."""
    for name, value in (("current_stuck", 55.0), ("rack_voltage_stuck", 44.0), ("coolant_stuck", 61.0),
                        ("gas_stuck", 1234.0), ("cell_stuck", 3.21), ("ntc_stuck", 47.0)):  # fmt: skip
        controller, rack = values_face(name, value)
        chips, s, ntc = attach.chips_of(rack), controller.s, rack.plant.sensors_of.ntc
        amps, pin_V, _ = chips.ina228.inputs()
        volts, ratios = chips.afe.inputs(0)
        seen = {
            "current": (s[I.CURRENT_dA] / 10, amps),
            "rack_voltage": (s[I.RACK_dV] / 10, pin_V * rack.plant.sensors_of.divider),
            "coolant": (s[I.COOLANT_ddegC] / 10, ntc.degC(attach.coolant_ratio(rack))),
            "gas": (s[I.GAS_mV], rack.gas_mV),
            "cell": (controller.cells_mV[0] / 1000, volts[0]),
            "ntc": (controller.temps_ddegC[0] / 10, ntc.degC(ratios[0])),
        }[name.removesuffix("_stuck")]
        assert seen == (pytest.approx(value, abs=0.06), pytest.approx(value, abs=0.06))


def test_both_faces_see_the_fault_bits_of_an_afe():
    """The process image names the device; the chip sets the bits in its summary register."""
    controller, rack = values_face("afe_fault", 0x81, 0)
    assert controller.s[I.AFE_FAULT] == 1
    stack = attach.afe_of(rack)
    assert dict(stack.own_faults()) == {0: 0x81}
    assert set(attach.ltc6813_of(rack).shut_down()) == {0}


def test_a_standing_status_counter_ages_the_status():
    """In the values face a status whose counter stands, alternates or runs back is not fresh, as in the firmware."""
    for value in (0.0, 1.0, 2.0):
        controller, _ = values_face("pcs_counter", value)
        assert controller.s[I.PCS_AGE_ms] > 400, value


def test_both_faces_show_the_requests_of_a_second_node():
    """The PCS takes the forged requests, and frames with the identifier of the rack's request are on the bus."""
    controller, rack = values_face("request_forged", 500.0)
    assert controller.s[I.FOREIGN_REQUESTS] == 10
    chips, ear = attach.chips_of(rack), Listener()
    chips.can_bus.nodes.append(ear)
    chips.can_bus.run_to(rack.now_us + 100_000)
    frames = [chips.pcs_node.codec.unpack(frame) for _, frame in ear.frames if frame.id == REQUEST_ID]
    assert len(frames) >= 4
    assert {frame["power"] for frame in frames} == {500}
    assert chips.pcs_node.requests[-1][1].power_W == 500


@pytest.mark.parametrize("value, steps", [(0, {0}), (1, {1, 15}), (2, {15})])
def test_the_status_counter_lies_on_the_wires(value, steps):
    """The counters of the status frames stand, alternate or run backwards."""
    rack = Rack.from_params(PARAMS)
    chips, ear = attach.chips_of(rack), Listener()
    chips.can_bus.nodes.append(ear)
    chips.can_bus.run_to(100_000)
    rack.start_fault("pcs_counter", 0, value)
    chips.can_bus.run_to(500_000)
    late = [chips.pcs_node.codec.unpack(frame)["sequence"] for us, frame in ear.frames if us > 150_000]
    assert {(b - a) & 15 for a, b in pairwise(late)} == steps


def test_a_flooded_bus_carries_garbage_between_the_statuses():
    """One frame of garbage each millisecond with the identifier of the status; the true status still arrives."""
    rack = Rack.from_params(PARAMS)
    chips, ear = attach.chips_of(rack), Listener()
    chips.can_bus.nodes.append(ear)
    rack.start_fault("can_flood")
    chips.can_bus.run_to(1_000_000)
    frames = [frame for _, frame in ear.frames]
    assert all(frame.id == STATUS_ID for frame in frames)
    good = sum(chips.pcs_node.codec.unpack(frame) is not None for frame in frames)
    assert good == pytest.approx(50, abs=1)
    assert len(frames) - good == pytest.approx(980, abs=25)
