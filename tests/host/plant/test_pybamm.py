"""The electrical cell model against PyBaMM's LFP cell, on profiles that the fit has not seen."""

import sys

import pytest
from halite.bench import cell_speed
from halite.bench.cell_fit import JUDGED_SOC, error_mV, plant_volts
from halite.bench.pybamm_cell import HELD_OUT, TRAIN, TEMPERATURES_degC, open_circuit, trace
from halite.common.errors import HaliteError
from halite.plant.chemistries import ocv_curve

BAR_mV = 5.0


@pytest.mark.parametrize("degC", TEMPERATURES_degC)
@pytest.mark.parametrize("name", HELD_OUT)
def test_the_voltage_follows_pybamm(name: str, degC: float) -> None:
    """The terminal voltage is within 5 mV rms of PyBaMM; 20 mohm less, a quarter of R0, would be outside."""
    run = trace(name, HELD_OUT, degC)
    volts = plant_volts(run)
    assert ((run.soc >= JUDGED_SOC[0]) & (run.soc <= JUDGED_SOC[1])).mean() > 0.8
    assert error_mV(run, volts) <= BAR_mV
    assert error_mV(run, volts + run.current_A * 0.02) > BAR_mV


def test_the_held_out_profiles_are_not_in_the_fit() -> None:
    """No held-out profile is a training profile, by name or by its current."""
    assert not set(HELD_OUT) & set(TRAIN)
    trained = [make().tobytes() for make, _ in TRAIN.values()]
    assert all(make().tobytes() not in trained for make, _ in HELD_OUT.values())


def test_the_open_circuit_table_is_pybamm_s() -> None:
    """The table of the OCV is PyBaMM's own curve to 0.1 mV."""
    soc, volts = open_circuit()
    table_soc, table_V = ocv_curve("prada", 2.0, 3.6)
    assert soc == pytest.approx(table_soc, abs=1e-3)
    assert volts == pytest.approx(table_V, abs=1e-4)


def test_the_bench_fails_without_pybamm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without PyBaMM the figure is not skipped: its measurement fails with one line that names the extra."""
    monkeypatch.setitem(sys.modules, "pybamm", None)
    with pytest.raises(HaliteError, match="PyBaMM is not installed") as refused:
        list(cell_speed.measure())
    assert "validate" in str(refused.value) and "\n" not in str(refused.value)
