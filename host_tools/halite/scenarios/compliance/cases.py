"""The cases of the compliance suite that last seconds: step, ramp, dead band, curve and published envelopes.

The judge does not know how the response works. It sees the frequency, the request and the delivered power.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from halite.plant.grid import Grid
from halite.scenarios.compliance import rules
from halite.scenarios.compliance.rig import EVENT_S, STEP_S, TOLERANCE, memory_s, parameters_of, run
from halite.scenarios.compliance.rules import Judged, Row, Track
from halite.scenarios.compliance.services import Service

_GB_RISE_S = (0.8 / 4.0, 0.8 / 2.0)  # from 10 to 90 % at the 4 and 2 pu/s of the GB bounds


def gb_row(service: Service, case: str, track: Track, max_error: float = TOLERANCE) -> Row:
    """The larger error of the low-frequency and of the high-frequency envelope. max_error: its bar in pu."""
    return Row(case, "GB envelope error", max(rules.gb_errors(track, service.asks())), "pu", None, max_error)


def _wanted(service: Service, deviation_hz: float) -> float:
    """Demanded power in pu in steady state at a deviation."""
    return float(service.wanted(np.array([service.nominal_hz + deviation_hz]))[0])


def step_case(service: Service, sign: int) -> Judged:
    """A step of the frequency and back. sign: -1 for low, +1 for high frequency."""
    params = parameters_of(service)
    deviation = sign * service.step_mHz / 1000
    wanted = _wanted(service, deviation)
    memory = memory_s(params)
    stay = max(12.0, service.full + 2.0)
    grid = Grid(service.nominal_hz)
    grid.set(service.nominal_hz + deviation, EVENT_S * 1e6)
    grid.set(service.nominal_hz, (EVENT_S + stay) * 1e6)
    track = run(params, grid, EVENT_S + stay + memory + 1.0)
    case = f"step {deviation * 1000:+.0f} mHz"
    rows = [Row(case, "power before the step", float(np.abs(track.power[track.t_s < EVENT_S]).max()), "pu", None, 0.0)]
    if not wanted:
        rows.append(Row(case, "power without demand", float(np.abs(track.power).max()), "pu", None, 0.0))
        return Judged(service.name, case, tuple(rows), track)
    first = rules.first_movement_s(track, EVENT_S)
    rows.append(Row(case, "first movement", first, "s", service.earliest, service.first))
    reached = rules.reach_s(track, EVENT_S, wanted, service.share)
    rows.append(Row(case, f"{service.share:.0%} delivered", reached, "s", None, service.full))
    end = EVENT_S + (service.sustain or stay - 0.1)
    inside = (track.t_s >= EVENT_S + service.full) & (track.t_s < end) & (service.share >= 0.99)
    if inside.any():
        error = float(np.abs(track.power[inside] - wanted).max())
        rows.append(Row(case, "error until the end", error, "pu", None, 0.01))
    if service.settled:
        settled = rules.settle_s(track, EVENT_S, EVENT_S + stay, wanted, 0.01)
        rows.append(Row(case, "settled to 1 %", settled, "s", None, service.settled))
    over = float(np.abs(track.power).max()) - abs(wanted)
    rows.append(Row(case, "overshoot", over, "pu", None, 0.01))
    rows.append(Row(case, "power after the return", float(np.abs(track.power[-20:]).max()), "pu", None, 0.001))
    rows.extend(_step_extras(service, track, case))
    return Judged(service.name, case, tuple(rows), track)


def _step_extras(service: Service, track: Track, case: str) -> Iterator[Row]:
    if service.gb:
        yield gb_row(service, case, track, TOLERANCE if service.name != "gb_dc" else 0.0)
        back = Track(*(column[::-1] for column in (-track.t_s, track.f_hz, track.request, track.power)))
        yield Row(case, "rise from 10 to 90 %", rules.rise_s(track, 1.0), "s", *_GB_RISE_S)
        yield Row(case, "fall from 90 to 10 %", rules.rise_s(back, 1.0), "s", *_GB_RISE_S)
    if service.release:
        release = rules.steepest_pu_per_s(track, EVENT_S + service.full, float(track.t_s[-1]))
        yield Row(case, "release", release, "pu/s", None, service.release * 1.03)
    if service.name == "eirgrid_ffr":
        after = track.t_s - EVENT_S
        power = track.power * np.sign(track.power[int(np.abs(track.power).argmax())])
        given = float(power[(after >= 2) & (after < 10)].sum()) * STEP_S
        lost = float(np.maximum(-power[(after >= 10) & (after < 20)], 0).sum()) * STEP_S
        yield Row(case, "energy 2-10 s less loss 10-20 s", given - lost, "pu s", 0.001, None)


def published_case(service: Service, name: str) -> Judged:
    """The frequency of a published envelope; the power must stay inside its bounds. name: step or ramp1hzs."""
    t_s, f_hz, lower, upper = rules.published_bounds(name)
    grid = Grid(service.nominal_hz)
    lead = EVENT_S - 1.0  # the published data is quiet for 1 s; the windows fill in the time before it
    for i in np.flatnonzero(np.diff(f_hz)):
        if name == "step":
            grid.set(float(f_hz[i + 1]), (lead + t_s[i + 1]) * 1e6)
    if name != "step":
        moving = np.flatnonzero(np.diff(f_hz))
        knots = [(float(t_s[i]), float(f_hz[i])) for i in (moving[0], *moving[1:], moving[-1] + 1)]
        grid.knots([(t - knots[0][0], f) for t, f in knots], (lead + knots[0][0]) * 1e6)
    track = run(parameters_of(service), grid, lead + float(t_s[-1]) + STEP_S / 2)
    seen = rules.at_20_hz(track)
    skip = round(lead / rules.GB_STEP_S)
    error = rules.settled_error(seen.power[skip:], lower[: len(seen.power) - skip], upper[: len(seen.power) - skip])
    case = f"published {name}"
    return Judged(service.name, case, (Row(case, "GB envelope error", error, "pu", None, 0.0),), track)


def ramp_case(service: Service, hz_per_s: float) -> Judged:
    """A ramp from nominal frequency to a deviation of 0.1 Hz more than the test step."""
    params = parameters_of(service)
    depth = service.step_mHz / 1000 + 0.1
    sign, rate = math.copysign(1.0, hz_per_s), abs(hz_per_s)
    end = EVENT_S + depth / rate
    grid = Grid(service.nominal_hz)
    grid.ramp(service.nominal_hz + sign * depth, rate, EVENT_S * 1e6)
    track = run(params, grid, end + max(service.full, 1.0) + 2.0)
    wanted = _wanted(service, sign * depth)
    case = f"ramp {hz_per_s:+g} Hz/s"
    if not wanted:
        row = Row(case, "power without demand", float(np.abs(track.power).max()), "pu", None, 0.0)
        return Judged(service.name, case, (row,), track)
    figure = f"{service.share:.0%} after the end of the ramp"
    reached = rules.reach_s(track, end, wanted, service.share)
    rows = [Row(case, figure, reached, "s", None, service.full)]
    if service.ramp_full:
        since = EVENT_S + service.step_mHz / 1000 / rate
        reached = rules.reach_s(track, since, wanted, 0.99)
        rows.append(Row(case, "full after 500 mHz", reached, "s", None, service.ramp_full))
    if service.gb:
        rows.append(gb_row(service, case, track))
    return Judged(service.name, case, tuple(rows), track)


def quiet_case(service: Service) -> Judged:
    """A deviation just inside the dead band, or just short of the trigger: the power stays 0."""
    grid = Grid(service.nominal_hz)
    if service.quiet_mHz > 2:
        grid.sine((service.quiet_mHz - 1) / 1000, 0.2, EVENT_S * 1e6)
    track = run(parameters_of(service), grid, EVENT_S + 10.0)
    case = "inside the dead band"
    return Judged(service.name, case, (Row(case, "power", float(np.abs(track.request).max()), "pu", None, 0.0),), track)


def curve_case(service: Service) -> Judged:
    """Hold each knot, each middle between two knots and a point beyond the first and the last, in both directions.

    The power is judged after it has settled.
    """
    params = parameters_of(service)
    knots = [mHz for mHz, _ in service.curve]
    levels = sorted({*knots, *((a + b) // 2 for a, b in pairwise(knots)), knots[0] + 10, knots[-1] + 100} - {0})
    pace = min(params.response_up_permille_ps, params.response_down_permille_ps) / 1000
    grid, at, before, ends = Grid(service.nominal_hz), EVENT_S, 0.0, []
    for deviation_hz in (*(-mHz / 1000 for mHz in levels), *(mHz / 1000 for mHz in levels)):
        power = _wanted(service, deviation_hz)
        grid.set(service.nominal_hz + deviation_hz, at * 1e6)
        at += (params.response_delay_ms + params.grid_window_ms) / 1000 + 0.3 + abs(power - before) / pace
        before = power
        ends.append(round(at / STEP_S) - 1)
    track = run(params, grid, at + STEP_S)
    off = np.abs(track.power - service.asks().at(track.f_hz))[ends]
    case = "curve"
    row = Row(case, "largest error", float(off.max()), "pu", None, TOLERANCE)
    return Judged(service.name, case, (row,), track)
