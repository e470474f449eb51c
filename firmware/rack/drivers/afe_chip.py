"""Make the driver of the AFE chip in the config. This runs at start and may allocate.

Both drivers have the same members, see rack.drivers.bq79616.Bq79616. A build contains the modules of one chip only.
"""

from rack.definitions.codes import AFE_LTC6813


def make_afe(params, port, controller, ntc_table):
    """Return the AFE driver of this rack.

    params: rack.config.Params; port: the port of rack.hal, with afe_uart or afe_spi; controller: the owner of the
    arrays cells_mV and temps_ddegC, which the driver fills; ntc_table: result of rack.drivers.ntc.make_table.
    """
    layout = (params.afe_devices, params.afe_cells_per_device, params.afe_temps_per_device)
    outputs = (controller.cells_mV, controller.temps_ddegC, ntc_table)
    period_us = params.afe_period_ms * 1000
    if params.afe_chip == AFE_LTC6813:
        from rack.drivers.ltc681x import Ltc681x

        return Ltc681x(port.afe_spi, layout, outputs, period_us)
    from rack.drivers.bq79616 import Bq79616

    return Bq79616(port.afe_uart, port.ticks_us, layout, outputs, period_us)
