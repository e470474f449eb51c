"""The equivalent circuit as tables: one look-up by SoC for all cells, one by temperature for all positions."""

import numpy as np

from halite.plant.chemistries import FARADAY_C_PER_MOL, GAS_J_PER_MOL_K, Array, CellData

_SOC_STEPS = 200
_COLDEST_degC, _HOTTEST_degC = -50, 130  # outside, the values of the ends hold
_REFERENCE_K = 298.15
_MONTH_S = 30 * 86_400.0


def _knots(knots: tuple[tuple[float, float], ...], at: Array) -> Array:
    table = np.array(knots)
    values: Array = np.interp(at, table[:, 0], table[:, 1])
    return values


def _arrhenius(kelvin: Array, J_per_mol: float) -> Array:
    """Factor of a resistance with this activation energy, 1 at 25 °C."""
    factor: Array = np.exp(J_per_mol / GAS_J_PER_MOL_K * (1 / kelvin - 1 / _REFERENCE_K))
    return factor


class Circuit:
    """Values of one chemistry. curve: (SoC, V) of its OCV at 25 °C.

    curve_V: the same OCV in equal steps of SoC over 0..1.
    """

    def __init__(self, data: CellData, curve: tuple[Array, Array]) -> None:
        soc = np.linspace(0.0, 1.0, _SOC_STEPS + 1)
        self.curve_V = np.interp(soc, *curve)
        self._soc_table = np.vstack([
            _knots(data.entropic_V_per_K, soc),
            _knots(data.hysteresis_V, soc),
            *(1e-3 * _knots(knots, soc) for knots in
              (data.ohm_mohm_ah, data.transfer_mohm_ah, data.pair1_mohm_ah, data.pair2_mohm_ah)),
        ])  # fmt: skip
        self._soc_slope = np.diff(self._soc_table, axis=1)
        degC = np.arange(_COLDEST_degC, _HOTTEST_degC + 1.0)
        kelvin = degC + 273.15
        self._warm_table = np.vstack([
            _arrhenius(kelvin, data.ohm_J_per_mol),
            _arrhenius(kelvin, data.transfer_J_per_mol),
            _arrhenius(kelvin, data.pair_J_per_mol),
            2 * GAS_J_PER_MOL_K * kelvin / FARADAY_C_PER_MOL,
            data.leak_per_month / _MONTH_S * 2.0 ** ((degC - 25.0) / 10.0),
            _knots(data.cold_loss, degC),
        ])  # fmt: skip
        self._warm_slope = np.diff(self._warm_table, axis=1)

    def at_soc(self, soc: Array) -> Array:
        """Rows: change of the OCV with temperature (V/K), half the hysteresis (V), and ohmic, transfer, pair 1 and
        pair 2 resistance (ohm Ah at 25 °C); a column for each SoC."""
        place = np.clip(soc, 0.0, 1.0) * _SOC_STEPS
        left = np.minimum(place.astype(np.intp), _SOC_STEPS - 1)
        values: Array = self._soc_table.take(left, axis=1) + (place - left) * self._soc_slope.take(left, axis=1)
        return values

    def at_degC(self, degC: Array) -> Array:
        """Rows: factors of ohmic, transfer and pair resistance; 2RT/F (V); self-discharge (share of the capacity in
        1/s); share of the charge that the cold hides; a column for each temperature."""
        place = np.clip(degC, _COLDEST_degC, _HOTTEST_degC) - _COLDEST_degC
        left = np.minimum(place.astype(np.intp), _HOTTEST_degC - _COLDEST_degC - 1)
        values: Array = self._warm_table.take(left, axis=1) + (place - left) * self._warm_slope.take(left, axis=1)
        return values
