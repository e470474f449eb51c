"""The long cases of the compliance suite: sweep, energy recovery, delivery, and a recorded and random grids."""

import random

import numpy as np

from halite.plant.grid import Grid
from halite.scenarios.compliance import rules
from halite.scenarios.compliance.cases import gb_row
from halite.scenarios.compliance.rig import EVENT_S, TOLERANCE, memory_s, parameters_of, run
from halite.scenarios.compliance.rules import Judged, Row
from halite.scenarios.compliance.services import RECOVERY_PU, Service

RANDOM_GRIDS = (0, 1, 2, 3, 22, 39)  # 22 swings from full high to full low frequency within the lag
JITTER_US = 5.0  # rms jitter of the edges

# Like GB on 9 August 2019: seconds after the start, deviation in Hz. The knot at 25 s is engineering judgement, the
# others are published (olduvai.ca and outramresearch.co.uk quote the operator's report and a logger).
GB_2019 = ((0.0, 0.0), (25.0, -0.9), (45.0, -0.8), (76.0, -1.2), (270.0, 0.0))

_COARSE_S = 0.05  # step of cases that last a quarter of an hour and longer
_OVER_S = 1.0  # a delivery ends within one scan and the time that the power takes to fall


def sweep_case(service: Service) -> Judged:
    """Sines of 0.05 to 2 Hz, one after the other; the power stays within the demand over the service's memory."""
    params = parameters_of(service)
    fires = service.trigger_mHz is not None
    amplitude = service.step_mHz / 1000 if fires else min(service.step_mHz, 500) / 1000 * 0.9
    grid = Grid(service.nominal_hz)
    at = EVENT_S
    for rate, turns in ((0.05, 1), (0.1, 1), (0.2, 2), (0.5, 3), (1.0, 4), (2.0, 6)):
        grid.sine(amplitude, rate, at * 1e6, (at + turns / rate) * 1e6)
        at += turns / rate
    track = run(params, grid, at + 3.0)
    case = "sine sweep"
    rows = [Row(case, "largest power", float(np.abs(track.power).max()), "pu", 0.99 if fires else None, 1.0)]
    if not fires:
        beyond = rules.excess(track, service.asks(), memory_s(params))
        rows.append(Row(case, "beyond the curve", beyond, "pu", None, TOLERANCE))
    if service.gb:
        rows.append(gb_row(service, case, track))
    return Judged(service.name, case, tuple(rows), track)


def recovery_case(service: Service, sign: int) -> Judged:
    """Energy recovery while the grid rests: at low power, not before its delay, and not while the service responds.

    sign: -1 for an empty rack, which charges until the frequency is low; +1 for a full rack, which discharges.
    """
    params = parameters_of(service)
    rests = service.rest or 60.0
    asked_s = rests + 15.0
    rest_hz = (service.rest_mHz or service.curve[0][0]) / 1000
    grid = Grid(service.nominal_hz + sign * rest_hz / 2)
    grid.set(service.nominal_hz + sign * (rest_hz + 0.005), asked_s * 1e6)
    track = run(params, grid, asked_s + 3.0, soc_cpct=5_000 + sign * 1_000)
    case = f"energy recovery at {50 + sign * 10} %"
    owed = 0.0 if service.rest is None else sign * RECOVERY_PU
    at_rest = float(track.power[track.t_s < asked_s][-1])
    answer = float(track.power[-1] - service.asks().at(track.f_hz[-1:])[0])
    rows = (
        Row(case, "power before its delay", float(np.abs(track.power[track.t_s < rests]).max()), "pu", None, 0.0),
        Row(case, "power", at_rest, "pu", owed - 0.001, owed + 0.001),
        Row(case, "in addition to the response", abs(answer), "pu", None, TOLERANCE),
    )
    return Judged(service.name, case, rows, track)


def gb_2019_case(service: Service) -> Judged:
    """A piecewise-linear copy of a real double loss of generation."""
    params = parameters_of(service)
    fires = service.trigger_mHz is not None
    grid = Grid(service.nominal_hz)
    grid.knots([(t, service.nominal_hz + d) for t, d in GB_2019], EVENT_S * 1e6)
    track = run(params, grid, EVENT_S + 275.0)
    case = "GB 2019-like"
    rows = [Row(case, "largest power", float(np.abs(track.power).max()), "pu", 0.99 if fires else None, 1.0)]
    if not fires:
        share = rules.energy_share(track, service.asks())
        rows.append(Row(case, "share of the ideal energy", share, "pu", service.energy, 1.1))
    if service.gb:
        rows.append(gb_row(service, case, track))
    return Judged(service.name, case, tuple(rows), track)


def random_case(service: Service, seed: int, jitter_us: float = 0.0) -> Judged:
    """Seeded steps and ramps of up to 0.7 Hz and 4 Hz/s, one directly after the other."""
    chance = random.Random(seed)
    grid = Grid(service.nominal_hz, jitter_us)
    at = EVENT_S
    while at < EVENT_S + 17.0:
        hz = service.nominal_hz + chance.uniform(-0.7, 0.7)
        if chance.random() < 0.4:
            grid.set(hz, at * 1e6)
            at += chance.uniform(0.02, 3.0)
        else:
            rate = chance.uniform(0.1, 4.0)
            grid.ramp(hz, rate, at * 1e6)
            at += abs(hz - grid.hz_at(at * 1e6)) / rate * chance.uniform(0.3, 1.5) + 0.01
    track = run(parameters_of(service), grid, EVENT_S + 20.0)
    case = f"random grid {seed}" + f", {jitter_us:g} us jitter" * (jitter_us > 0)
    row = gb_row(service, case, track, service.jittered if jitter_us else TOLERANCE)
    return Judged(service.name, case, (row,), track)


def delivery_case(service: Service, lasts: float) -> Judged:
    """Low frequency until the contracted energy is spent: the rack delivers all of it, and no more. lasts: in s."""
    params = parameters_of(service)
    grid = Grid(service.nominal_hz)
    grid.set(service.nominal_hz - service.step_mHz / 1000, EVENT_S * 1e6)
    track = run(params, grid, EVENT_S + service.full + lasts + 12.0, step_s=_COARSE_S)
    case = f"low for {lasts / 60:g} min"
    rows = (
        Row(case, "full energy for", rules.full_s(track, EVENT_S, 0.99), "s", lasts - _COARSE_S, lasts + _OVER_S),
        Row(case, "power after the end", float(np.abs(track.power[-1])), "pu", None, 0.0),
    )
    return Judged(service.name, case, rows, track)


def second_event_case(service: Service, ready: float) -> Judged:
    """Two dips for a step service, `ready` s apart, with the grid a little below nominal frequency between them."""
    params = parameters_of(service)
    grid = Grid(service.nominal_hz)
    dip_hz, between_hz = service.nominal_hz - service.step_mHz / 1000, service.nominal_hz - 0.05
    for at_s in (EVENT_S, EVENT_S + ready):
        grid.set(dip_hz, at_s * 1e6)
        grid.set(between_hz, (at_s + 3.0) * 1e6)
    track = run(params, grid, EVENT_S + ready + 5.0, step_s=_COARSE_S)
    case = f"second dip after {ready / 60:g} min"
    rows = tuple(
        Row(case, f"full after dip {number}", rules.reach_s(track, at_s, 1.0, 0.99), "s", None, service.full)
        for number, at_s in ((1, EVENT_S), (2, EVENT_S + ready))
    )
    return Judged(service.name, case, rows, track)
