"""The estimated core temperature against that of simulated cells, whose resistance is not the configured one."""

from array import array
from typing import Any

import numpy as np
import pytest
from halite.hosts.controller_rig import params
from halite.plant.cells import Cells
from halite.plant.heat import Cooling, Heat, HeatData
from halite.plant.parameters import Perturbation, plant_of_params, with_cells
from hypothesis import given, settings
from hypothesis import strategies as st
from rack.control.sense.core_temperature import CoreTemperature
from rack.control.sense.overcurrent import Overcurrent
from rack.control.sense.temperatures import Temperatures
from rack.generated import ids as I


class Bench:
    """One module of cells with a real core, read every second as the AFE does."""

    def __init__(
        self, name: str, start: float, devices: int = 1, perturbation: Perturbation | None = None
    ) -> None:
        self.s = array("i", [0] * I.COUNT)
        p = params(name, afe_devices=devices, cell_series=16 * devices, **_wide())
        plant, rng = with_cells(plant_of_params(p), None, perturbation), np.random.default_rng(1)
        self.plant = Cells(plant, 0.5, start, rng)
        at = np.bincount(self.plant.sensor_of, minlength=plant.sensors)
        self.heat = Heat(plant, at, start, start, rng, HeatData(still_share=0.0, air_W_per_K=0.0))
        self.raw = array("i", [0] * (8 * devices))
        self.temperatures = Temperatures(p, self.s, self.raw)
        self.overcurrent = Overcurrent(p, self.s)
        self.core = CoreTemperature(p, self.s, self.temperatures, self.overcurrent)
        self.p = p

    def run(self, seconds: int, amps: float, coolant: float = 25.0, flow: float = 1.0) -> list[tuple[float, float]]:
        """(estimate, truth) each second, degC."""
        pairs = []
        self.s[I.CURRENT_dA] = round(amps * 10)
        for _ in range(seconds):
            self.plant.soc[:] = 0.5
            self.heat.coolant_degC[:] = self.heat.tank_degC = coolant
            self.heat.warm("electrical", self.plant.step_charge(amps, 1.0, self.heat.core_degC))
            self.heat.step(1.0, Cooling(pump_pct=100 * flow, flows=flow > 0))
            for at, degC in enumerate(self.heat.surface_degC):
                self.raw[at] = round(degC * 10)
            self.temperatures.judge(1000)
            self.temperatures.compare()
            for _ in range(10):
                self.overcurrent.scan(100)
            self.core.slot(1000)
            pairs.append((self.s[I.CORE_MAX_ddegC] / 10, float(self.heat.core_degC.max())))
        return pairs


def _wide() -> dict[str, Any]:
    return {"plausible_frozen_dK": 1000, "plausible_disagree_dK": 1000}


@pytest.mark.parametrize(
    ("name", "amps", "low_K", "high_K"),
    [("sodium", -210, -1.6, 1.1), ("lfp", -140, -1.0, 0.4), ("sodium", 420, -5.7, 3.3), ("lfp", 280, -1.9, 2.9)],
)
@pytest.mark.parametrize("start", [-10.0, 25.0, 40.0])
@pytest.mark.parametrize("resistance", [0.7, 1.0, 1.3])
def test_the_estimate_follows_the_true_core(
    name: str, amps: int, low_K: float, high_K: float, start: float, resistance: float
) -> None:
    """Estimate minus core of cells with 70 to 130 % resistance: -1.6 to 1.1 K at the rated current of the racks.

    At the trip levels (2C of sodium, 1C of LFP, 15 minutes) the core of a resistive cell is up to 5.7 K hotter. The
    config has no slow part of the resistance and no reversible heat.
    """
    bench = Bench(name, start, perturbation=Perturbation(resistance))
    pairs = bench.run(900, amps, start) + bench.run(300, 0, start) + bench.run(300, -amps, start)
    for estimate, truth in pairs:
        assert low_K <= estimate - truth <= high_K


def test_the_core_is_known_to_be_hot_before_the_surface_shows_it() -> None:
    bench = Bench("sodium", 25.0)
    when: dict[str, int] = {}
    for second, (estimate, _) in enumerate(bench.run(1500, 700, 25.0, 0.0)):
        if estimate >= 50:
            when.setdefault("core", second)
        if bench.s[I.TEMP_MAX_ddegC] >= 500:
            when.setdefault("surface", second)
    del when["surface"]
    again = Bench("sodium", 25.0)
    for second in range(1500):
        again.run(1, 700, 25.0, 0.0)
        if again.s[I.TEMP_MAX_ddegC] >= 500:
            when["surface"] = second
            break
    assert when["core"] + 30 <= when["surface"]


@settings(max_examples=20)
@given(st.integers(-400, 900), st.integers(-400, 900), st.integers(0, 2000))
def test_without_current_the_core_settles_at_the_surface(
    first: int, then: int, amps: int
) -> None:
    """Without current the core settles at the temperature of the surface and stays in its range."""
    bench = Bench("sodium", 25.0, 2)
    for value, seconds in ((first, 1), (then, 3000)):
        for _ in range(0, seconds, 2):
            for at in range(16):
                bench.temperatures.used[at] = value
            bench.core.slot(2000)
            assert min(first, then) <= bench.core.core_mdegC[1] // 100 <= max(first, then)
    assert abs(bench.s[I.CORE_MAX_ddegC] - then) <= 20
    bench.s[I.CURRENT_dA] = amps * 10
    for _ in range(10):
        bench.overcurrent.scan(100)
    bench.core.slot(1000)
    assert bench.s[I.CORE_MAX_ddegC] >= then


def test_the_hottest_module_is_named() -> None:
    bench = Bench("sodium", 25.0, 3)
    for at in range(24):
        bench.temperatures.used[at] = 300 + (at // 8 == 2) * 50
    bench.core.slot(1000)
    assert (bench.s[I.CORE_MAX_ddegC], bench.s[I.CORE_MAX_AT]) == (350, 2)


def test_the_heat_is_that_of_the_coldest_cell() -> None:
    """The heat is that of the coldest cell at the mean square current."""
    bench = Bench("sodium", 25.0)
    bench.s[I.TEMP_MIN_ddegC] = 250
    bench.s[I.CURRENT_dA] = 4000
    for _ in range(10):
        bench.overcurrent.scan(100)
    bench.core.slot(1000)
    assert bench.s[I.HEAT_W] == 160_000 * 371 // 1_000_000
