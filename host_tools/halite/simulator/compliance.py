"""`halite simulate --suite compliance`: every service preset against what the service demands.

The firmware's own response runs on exact zero crossings, its request passes a CAN frame's delay and
the lag of a PCS, and the delivered power is judged. Nothing here knows how the response works.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from halite.errors import HaliteError
from halite.simulator import compliance_rules as rules
from halite.simulator.compliance_rig import STEP_S, parameters, preset, run
from halite.simulator.compliance_rules import Curve, Row, Track
from halite.simulator.grid import Grid

EVENT_S = 3.0  # every case is quiet until then: the measurement fills its windows
TOLERANCE = 0.002  # pu: 0.1 mHz resolution on the steepest curve, and the PCS lag's tail

RANDOM_GRIDS = (0, 1, 2, 3, 22, 39)  # 22 swings from full high to full low frequency within the lag

# GB-9-August-2019-like: seconds after the start, deviation in Hz. The first knot is engineering judgement, the
# rest as published (olduvai.ca and outramresearch.co.uk quoting the operator's report and a logger).
GB_2019 = ((0.0, 0.0), (25.0, -0.9), (45.0, -0.8), (76.0, -1.2), (270.0, 0.0))


@dataclass(frozen=True)
class Service:
    """A preset with the bars of its service; times in s, None where the service says nothing.

    step_mHz: the test step, to low frequency; first, full: latest first movement and latest `share` of
    what the curve or step asks; settled: latest time to stay within 1 %; gb: judged by the GB envelope.
    """

    name: str
    step_mHz: int
    full: float
    share: float = 0.99
    first: float | None = None
    settled: float | None = None
    gb: bool = False
    nominal_hz: float = 50.0
    sustain: float | None = None
    ramp_full: float | None = None
    energy: float | None = None


# fmt: off
CATALOGUE = (
    Service("sodium_fast",    500, full=0.15, share=0.9, first=0.06),
    Service("lithium_steady", 500, full=1.3),
    Service("gb_dc",          500, full=1.0, first=0.5, gb=True),
    Service("gb_dm",          200, full=1.0, first=0.5, gb=True),
    Service("gb_dr",          200, full=10.0, first=2.0),
    Service("nordic_ffr_a",   320, full=1.3, sustain=5.0),
    Service("nordic_ffr_b",   420, full=1.0, sustain=5.0),
    Service("nordic_ffr_c",   520, full=0.7, sustain=5.0),
    Service("nordic_fcr_n",   100, full=30.0),
    Service("nordic_fcr_d",   500, full=7.5, share=0.86, settled=30.0),
    Service("eirgrid_ffr",    500, full=2.0, sustain=10.0),
    Service("aemo_very_fast", 500, full=1.0, ramp_full=1.0),
    Service("csg_primary",    533, full=3.0, share=0.9, first=1.0, settled=4.0, energy=0.70),
    Service("ieee1547",       500, full=5.0, share=0.9, nominal_hz=60.0),
)
# fmt: on


@dataclass(frozen=True)
class Judged:
    """One case of one service: its rows, and the track they were read from."""

    service: str
    case: str
    rows: tuple[Row, ...]
    track: Track


def _curve(service: Service) -> Curve:
    return Curve.of(preset(service.name)["curve"], service.nominal_hz)


def _memory_s(params: Any) -> float:
    """How long after a frequency the service may still answer to it."""
    ramps = 1000 / params.response_up_permille_ps + 1000 / params.response_down_permille_ps
    step = (params.response_step_hold_ms / 1000 + 1000 / params.response_step_release_permille_ps) * (
        params.response_step_permille > 0
    )
    return float((params.response_delay_ms + params.grid_window_ms + 80) / 1000 + ramps + step)


def _wanted(service: Service, params: Any, deviation_hz: float) -> float:
    """What the service owes in steady state at a deviation, pu."""
    if params.response_step_permille:
        return float(params.response_step_permille / 1000 * (-deviation_hz * 1000 >= params.response_step_below_mHz))
    return float(_curve(service).at(np.array([service.nominal_hz + deviation_hz]))[0])


def _grid(service: Service) -> Grid:
    return Grid(service.nominal_hz)


def step_case(service: Service, sign: int) -> Judged:
    """A step of the frequency and back. sign -1: low frequency."""
    params = parameters(service.name, service.nominal_hz)
    deviation = sign * service.step_mHz / 1000
    wanted = _wanted(service, params, deviation)
    memory = _memory_s(params)
    stay = max(12.0, service.full + 2.0)
    grid = _grid(service)
    grid.set(service.nominal_hz + deviation, EVENT_S * 1e6)
    grid.set(service.nominal_hz, (EVENT_S + stay) * 1e6)
    track = run(params, grid, EVENT_S + stay + memory + 1.0)
    case = f"step {deviation * 1000:+.0f} mHz"
    rows = [Row(case, "power before the step", float(np.abs(track.power[track.t_s < EVENT_S]).max()), "pu", None, 0.0)]
    if not wanted:
        rows.append(Row(case, "power not owed", float(np.abs(track.power).max()), "pu", None, 0.0))
        return Judged(service.name, case, tuple(rows), track)
    first = rules.first_movement_s(track, EVENT_S)
    rows.append(Row(case, "first movement", first, "s", params.response_delay_ms / 1000, service.first))
    reached = rules.reach_s(track, EVENT_S, service.share * abs(wanted))
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
    rows.append(Row(case, "left after the return", float(np.abs(track.power[-20:]).max()), "pu", None, 0.001))
    rows.extend(_step_extras(service, params, track, case, stay))
    return Judged(service.name, case, tuple(rows), track)


def _step_extras(service: Service, params: Any, track: Track, case: str, stay: float) -> Iterator[Row]:
    if service.gb:
        error = max(rules.gb_errors(track, _curve(service)))
        yield Row(case, "GB envelope error", error, "pu", None, TOLERANCE if service.name != "gb_dc" else 0.0)
    if params.response_step_permille:
        release = rules.steepest_pu_per_s(
            track, EVENT_S + params.response_step_hold_ms / 1000 + 0.5, float(track.t_s[-1])
        )
        yield Row(case, "release", release, "pu/s", None, params.response_step_release_permille_ps / 1000 * 1.03)
    if service.name == "eirgrid_ffr":
        after = track.t_s - EVENT_S
        power = track.power * np.sign(track.power[int(np.abs(track.power).argmax())])
        given = float(power[(after >= 2) & (after < 10)].sum()) * STEP_S
        lost = float(np.maximum(-power[(after >= 10) & (after < 20)], 0).sum()) * STEP_S
        yield Row(case, "energy 2-10 s less loss 10-20 s", given - lost, "pu s", 0.001, None)


def published_case(service: Service, name: str) -> Judged:
    """The frequency of a published envelope; the power must lie inside its bounds."""
    t_s, f_hz, lower, upper = rules.published_bounds(name)
    grid = _grid(service)
    lead = EVENT_S - 1.0  # the published traces are quiet for 1 s, the windows fill in the time before
    for i in np.flatnonzero(np.diff(f_hz)):
        if name == "step":
            grid.set(float(f_hz[i + 1]), (lead + t_s[i + 1]) * 1e6)
    if name != "step":
        moving = np.flatnonzero(np.diff(f_hz))
        knots = [(float(t_s[i]), float(f_hz[i])) for i in (moving[0], *moving[1:], moving[-1] + 1)]
        grid.knots([(t - knots[0][0], f) for t, f in knots], (lead + knots[0][0]) * 1e6)
    track = run(parameters(service.name), grid, lead + float(t_s[-1]) + STEP_S / 2)
    seen = rules.at_20_hz(track)
    skip = round(lead / rules.GB_STEP_S)
    error = rules.settled_error(seen.power[skip:], lower[: len(seen.power) - skip], upper[: len(seen.power) - skip])
    case = f"published {name}"
    return Judged(service.name, case, (Row(case, "GB envelope error", error, "pu", None, 0.0),), track)


def ramp_case(service: Service) -> Judged:
    """-1 Hz/s to beyond full power."""
    params = parameters(service.name, service.nominal_hz)
    depth = service.step_mHz / 1000 + 0.1
    grid = _grid(service)
    grid.ramp(service.nominal_hz - depth, 1.0, EVENT_S * 1e6)
    track = run(params, grid, EVENT_S + depth + max(service.full, 1.0) + 2.0)
    wanted = _wanted(service, params, -depth)
    case = "ramp -1 Hz/s"
    reached = rules.reach_s(track, EVENT_S + depth, service.share * abs(wanted))
    rows = [Row(case, f"{service.share:.0%} after the end of the ramp", reached, "s", None, service.full)]
    if service.ramp_full:
        since = EVENT_S + service.step_mHz / 1000
        rows.append(Row(case, "full after 500 mHz", rules.reach_s(track, since, 0.99), "s", None, service.ramp_full))
    if service.gb:
        rows.append(Row(case, "GB envelope error", max(rules.gb_errors(track, _curve(service))), "pu", None, TOLERANCE))
    return Judged(service.name, case, tuple(rows), track)


def sweep_case(service: Service) -> Judged:
    """Sines of 0.05 to 2 Hz, one after the other; never more than was asked for within the service's memory."""
    params = parameters(service.name, service.nominal_hz)
    fires = params.response_step_permille > 0
    amplitude = service.step_mHz / 1000 if fires else min(service.step_mHz, 500) / 1000 * 0.9
    grid = _grid(service)
    at = EVENT_S
    for rate, turns in ((0.05, 1), (0.1, 1), (0.2, 2), (0.5, 3), (1.0, 4), (2.0, 6)):
        grid.sine(amplitude, rate, at * 1e6, (at + turns / rate) * 1e6)
        at += turns / rate
    track = run(params, grid, at + 3.0)
    case = "sine sweep"
    rows = [Row(case, "largest power", float(np.abs(track.power).max()), "pu", 0.99 if fires else None, 1.0)]
    if not fires:
        rows.append(
            Row(
                case, "beyond the curve", rules.excess(track, _curve(service), _memory_s(params)), "pu", None, TOLERANCE
            )
        )
    if service.gb:
        rows.append(Row(case, "GB envelope error", max(rules.gb_errors(track, _curve(service))), "pu", None, TOLERANCE))
    return Judged(service.name, case, tuple(rows), track)


def quiet_case(service: Service) -> Judged:
    """Just inside the dead band, or just short of the trigger: no power at all."""
    params = parameters(service.name, service.nominal_hz)
    zeros = [d for d, p in preset(service.name)["curve"] if p == 0 and d > 0]
    edge_mHz = params.response_step_below_mHz if params.response_step_permille else max(zeros, default=0)
    grid = _grid(service)
    if edge_mHz > 2:
        grid.sine((edge_mHz - 1) / 1000, 0.2, EVENT_S * 1e6)
    track = run(params, grid, EVENT_S + 10.0)
    case = "inside the dead band"
    return Judged(service.name, case, (Row(case, "power", float(np.abs(track.request).max()), "pu", None, 0.0),), track)


def recovery_case(service: Service) -> Judged:
    """Energy recovery: an empty rack charges on a quiet grid, gently, and not before the delay."""
    params = parameters(service.name, service.nominal_hz)
    delay = params.response_recovery_delay_s
    track = run(params, _grid(service), delay + 15.0, soc_cpct=2_000)
    case = "energy recovery"
    owed = -params.response_recovery_permille / 1000
    before = track.t_s < delay
    return Judged(
        service.name,
        case,
        (
            Row(case, "power before its delay", float(np.abs(track.power[before]).max()), "pu", None, 0.0),
            Row(case, "power", float(track.power[-1]), "pu", owed - 0.001, owed + 0.001),
        ),
        track,
    )


def gb_2019_case(service: Service) -> Judged:
    """The piecewise trace of a real double event."""
    params = parameters(service.name, service.nominal_hz)
    grid = _grid(service)
    grid.knots([(t, service.nominal_hz + d) for t, d in GB_2019], EVENT_S * 1e6)
    track = run(params, grid, EVENT_S + 275.0)
    case = "GB 2019-like"
    rows = [Row(case, "largest power", float(np.abs(track.power).max()), "pu", None, 1.0)]
    if not params.response_step_permille:
        share = rules.energy_share(track, _curve(service))
        rows.append(Row(case, "energy of the ideal answer", share, "pu", service.energy or 0.90, 1.1))
    if service.gb:
        rows.append(Row(case, "GB envelope error", max(rules.gb_errors(track, _curve(service))), "pu", None, TOLERANCE))
    return Judged(service.name, case, tuple(rows), track)


def random_case(service: Service, seed: int) -> Judged:
    """Seeded steps and ramps up to 0.7 Hz and 4 Hz/s, from one to the other without a rest."""
    chance = random.Random(seed)
    grid = _grid(service)
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
    track = run(parameters(service.name, service.nominal_hz), grid, EVENT_S + 20.0)
    case = f"random grid {seed}"
    error = max(rules.gb_errors(track, _curve(service)))
    return Judged(service.name, case, (Row(case, "GB envelope error", error, "pu", None, TOLERANCE),), track)


def cases(service: Service, long: bool = True) -> Iterator[Callable[[], Judged]]:
    """The cases of a service; long: with the minutes-long ones."""
    yield lambda: step_case(service, -1)
    yield lambda: step_case(service, +1)
    if service.name == "gb_dc":
        yield lambda: published_case(service, "step")
        yield lambda: published_case(service, "ramp1hzs")
    yield lambda: ramp_case(service)
    yield lambda: quiet_case(service)
    if long:
        yield lambda: sweep_case(service)
        yield lambda: recovery_case(service)
        yield lambda: gb_2019_case(service)
    if long and service.gb:
        for seed in RANDOM_GRIDS:
            yield partial(random_case, service, seed)


def suite(names: list[str] | None = None, long: bool = True) -> list[Judged]:
    """Judge the named services, or all."""
    known = {service.name: service for service in CATALOGUE}
    unknown = sorted(set(names or ()) - set(known))
    if unknown:
        raise HaliteError(f"no service {', '.join(unknown)}", f"known: {', '.join(known)}")
    return [case() for name in names or known for case in cases(known[name], long)]


def main(arguments: list[str]) -> int:
    """The verb's suite: options --json, --service NAME (again for more), --report FILE, --quick. 0 when all holds."""
    from halite.simulator.compliance_report import main as report_main

    return report_main(arguments)
