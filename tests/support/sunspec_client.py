"""A rack as an independent SunSpec client finds it."""

from typing import Any

from halite.generate.modbus import PROTOCOLS
from sunspec2 import device as sunspec_device
from sunspec2.modbus.client import SunSpecModbusClientDeviceRTU

from support.modbus_rig import UNIT


def scanned(path: str, timeout: float = 5) -> Any:
    """The device as pysunspec2 finds it, with the rack's own model from docs/protocols."""
    kept = sunspec_device.get_model_defs_path()
    sunspec_device.set_model_defs_path([*kept, str(PROTOCOLS)])
    try:
        found = SunSpecModbusClientDeviceRTU(slave_id=UNIT, name=path, baudrate=19_200, timeout=timeout)
        found.scan()
    finally:
        sunspec_device.set_model_defs_path(kept)
    return found
