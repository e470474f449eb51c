"""Make the driver of the AFE chip that the config names. Runs at start, may allocate."""


def make_afe(params, port, controller, ntc_table):
    """The AFE driver of this rack, with the members that rack.app uses.

    params: rack.config.Params; port: of rack.hal; controller: whose cells_mV and temps_ddegC it writes;
    ntc_table: of rack.drivers.ntc.make_table.
    """
    from rack.drivers.bq79616 import Bq79616

    return Bq79616(
        port.afe_uart,
        port.ticks_us,
        params.afe_devices,
        params.afe_cells_per_device,
        params.afe_temps_per_device,
        controller.cells_mV,
        controller.temps_ddegC,
        ntc_table,
        params.afe_period_ms * 1000,
    )
