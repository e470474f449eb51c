"""The slave before two clients that others have written: pymodbus and pysunspec2, each on a serial port."""

import contextlib
import os
import pty
import threading
import time
import tty
from collections.abc import Iterator

import pytest
from halite.generate.modbus import PROTOCOLS
from pymodbus import ModbusException
from pymodbus.client import ModbusSerialClient
from rack.definitions import sunspec
from rack.definitions.signals import SIGNALS
from rack.generated import ids as I
from support.modbus_rig import UNIT, Slave, address
from support.sunspec_client import scanned

_STEP_US = 2_000


class OnPort:
    """A slave whose line is a pty: a client's bytes go to the line, answers come when simulated time brings them."""

    def __init__(self, slave: Slave) -> None:
        self.slave = slave
        self._master, self._slave_end = pty.openpty()
        tty.setraw(self._slave_end)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave_end)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._told = 0

    def __enter__(self) -> "OnPort":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave_end)

    def _run(self) -> None:
        line = self.slave.line
        while not self._ended.is_set():
            with contextlib.suppress(BlockingIOError):
                line.put(os.read(self._master, 1024))
            self.slave.run(_STEP_US)
            if self._told < len(line.sent) and not line.sending():
                os.write(self._master, line.sent[self._told][1])
                self._told += 1
            time.sleep(0.0005)


@pytest.fixture
def slave() -> Slave:
    slave = Slave("lfp", pair_role=2)
    slave.rig.run(1_500)
    slave.rig.close()
    slave.s[I.CURRENT_dA] = -1_234
    slave.s[I.SOC_cpct] = 5_678
    slave.s[I.SHORT_W] = -70_001
    return slave


@pytest.fixture
def port(slave: Slave) -> Iterator[OnPort]:
    with OnPort(slave) as port:
        yield port


def test_pysunspec2_reads_every_model(port: OnPort, slave: Slave) -> None:
    """pysunspec2 finds every model without an error and reads the values of the process image."""
    found = scanned(port.path)
    try:
        assert [model.model_id for model in found.model_list] == [1, 802, sunspec.VENDOR]
        assert [model.error_info for model in found.model_list] == [""] * 3
        common, battery, own = (found.models[number][0] for number in (1, 802, sunspec.VENDOR))
        assert (common.Mn.value, common.SN.value) == ("Halite", slave.params.rack_name)
        assert battery.A.cvalue == pytest.approx(-123.4)
        assert battery.V.cvalue == pytest.approx(slave.s[I.RACK_dV] / 10)
        assert battery.W.cvalue == pytest.approx(-123.4 * slave.s[I.RACK_dV] / 10, abs=100)
        assert battery.CellVMax.cvalue == pytest.approx(slave.s[I.CELL_MAX_mV] / 1000)
        assert battery.SoC.cvalue == pytest.approx(56.78)
        assert battery.AHRtg.cvalue == pytest.approx(280)
        assert battery.WHRtg.cvalue == pytest.approx(373_000, rel=0.02)
        assert battery.WChaRteMax.cvalue == battery.WDisChaRteMax.cvalue == slave.params.rack_power_max_W
        assert (battery.Typ.value, battery.State.value, battery.ChaSt.value) == (4, 3, 4)
        for absent in ("DoD", "WarrDt", "SoCMax", "SetInvState", "ReqW"):
            assert getattr(battery, absent).value is None, absent
        assert [getattr(own, row[0]).value for row in SIGNALS] == list(slave.s)
        assert (own.Soc.value, own.Short.value) == (5_678, -70_001)
        assert own.Layout.value == own.Layout.pdef["value"]  # an integrator compares these
    finally:
        found.close()


def test_pysunspec2_writes_the_values_of_the_ems(port: OnPort, slave: Slave) -> None:
    """pysunspec2 writes the values of the EMS and reads them back."""
    found = scanned(port.path)
    try:
        own, battery = found.models[sunspec.VENDOR][0], found.models[802][0]
        own.SetW.cvalue = -45_000
        own.SetInsulation.cvalue = 80_000
        own.PairHigh.cvalue, own.PairLow.cvalue, own.PairOut.cvalue, own.PairShort.cvalue = 5_200, 6_100, 1, -12_345
        own.write()
        battery.CtrlHb.cvalue = 99
        battery.write()
        battery.SetOp.cvalue = 2
        battery.write()
    finally:
        found.close()
    s = slave.s
    assert (s[I.SETPOINT_W], s[I.INSULATION_KOHM], s[I.PAIR_SHORT_W]) == (-45_000, 80_000, -12_345)
    assert not slave.c.contactors.wanted


@pytest.mark.parametrize("name", ["sodium", "bench"])
def test_ratings_keep_their_size_on_every_rack(name: str) -> None:
    """The ratings of each shipped rack survive the scale factors of 16-bit points."""
    with OnPort(Slave(name)) as port:
        found = scanned(port.path)
        battery = found.models[802][0]
        found.close()
    params = port.slave.params
    assert battery.WChaRteMax.cvalue == params.rack_power_max_W
    assert battery.AHRtg.cvalue == params.cell_capacity_dAh / 10
    assert battery.Typ.value == (99 if name == "sodium" else 4)
    assert battery.WHRtg.cvalue > 0.8 * params.cell_capacity_dAh / 10 * params.cell_series * 3.0


def test_pymodbus_reads_writes_and_is_refused(port: OnPort, slave: Slave) -> None:
    with ModbusSerialClient(port.path, baudrate=19_200, timeout=5, retries=0) as client:  # a pty takes no parity
        head = client.read_holding_registers(sunspec.BASE, count=2, device_id=UNIT)
        assert tuple(head.registers) == sunspec.SUNS
        below = client.read_holding_registers(sunspec.BASE - 1, count=2, device_id=UNIT)
        assert below.isError() and below.exception_code == 2
        words = client.convert_to_registers(-30_000, client.DATATYPE.INT32)
        assert not client.write_registers(address("SetW"), words, device_id=UNIT).isError()
        assert slave.s[I.SETPOINT_W] == -30_000
        assert not client.write_register(address("CtrlHb", 802), 3, device_id=UNIT).isError()
        refused = client.write_register(address("AlmRst", 802), 1, device_id=UNIT)
        assert refused.isError() and refused.exception_code == 4
        assert client.read_holding_registers(address("Refused"), count=1, device_id=UNIT).registers == [5]
        assert client.read_coils(0, count=1, device_id=UNIT).exception_code == 1
        client.comm_params.timeout_connect = 0.3
        answers = len(slave.line.sent)
        with contextlib.suppress(ModbusException):
            client.read_holding_registers(sunspec.BASE, count=2, device_id=UNIT + 1)
        assert len(slave.line.sent) == answers


def test_the_example_of_the_protocol_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """The Python example of docs/protocols/modbus.md runs without a change."""
    page = (PROTOCOLS / "modbus.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    changes = (('"/dev/ttyUSB0"', repr("PORT")), ('parity="E", timeout=0.5', "timeout=5"))  # a pty takes no parity
    slave = Slave("sodium", modbus_unit=1)
    slave.rig.run(1_500)
    slave.s[I.SOC_cpct] = 5_678
    with OnPort(slave) as port:
        for old, new in changes:
            assert code.count(old) == 1, old
            code = code.replace(old, new.replace("PORT", port.path))
        exec(compile(code, "modbus.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.splitlines() == [f"state 1 charge % 56.78 V {slave.s[I.RACK_dV] / 10}", "why [1003]",
                                    "setpoint taken"]
    assert slave.s[I.SETPOINT_W] == 500
