"""From reset to the running application, or to standby with the reason.

Hazard: a rack that runs on a doubtful config, or one that stops without a reason. The config is read first, while the
heap is empty; the code that only checks it is unloaded.
"""

import gc
import sys
from binascii import crc32

import micropython
from micropython import const

from rack.definitions.codes import AFE_LTC6813

_COLLECT_BYTES = const(65_536)  # allocations between two collections while modules load, against fragmentation

CONFIG_PATH = "config.bin"


def main():
    """Run mode, called by main.py. Does not return."""
    micropython.kbd_intr(-1)
    port = app = None
    try:
        _preload_builtin_modules()
        params, crc = _read_config()
        gc.threshold(_COLLECT_BYTES)
        _load_in_steps(params)
        from rack.app import App
        from rack.hal.rp2_board import Rp2Board

        port = Rp2Board(params)
        app = App(params, port, crc)
        del params
        gc.threshold(-1)
        app.run()       # which collects once more
    except _Refused as refused:
        reason = str(refused)
    except Exception as error:
        sys.print_exception(error)  # type: ignore[attr-defined]  # MicroPython's own; sys takes no stub
        reason = "%s: %s" % (type(error).__name__, error)
    if app is not None:
        app.stop()
    standby(reason, port)


def _preload_builtin_modules():
    """Enter the image's own modules as loaded; otherwise each import of one first searches for a file of its name.

    The search lets a file extend them (process_import_at_level, py/builtinimport.c of MicroPython): 3.5 ms on the
    emulated board, 35 times.
    """
    for name in ("array", "binascii", "hashlib", "machine", "select", "struct", "time"):
        sys.modules[name] = __import__(name)


class _Refused(Exception):
    """The config was refused."""


def _read_config():
    """(Params, CRC-32) of the config file; raises _Refused(reason)."""
    from rack.config import ConfigError, load

    try:
        with open(CONFIG_PATH, "rb") as file:
            data = file.read()
        params = load(data)
    except OSError:
        raise _Refused("config: there is no " + CONFIG_PATH)
    except ConfigError as error:
        raise _Refused(str(error))
    finally:
        _unload_module("rack", "config")
        _unload_module("rack.definitions", "params")
    return params, crc32(data)


def _load_selected_modules(params):
    """Load the modules that the config selects: the code of modules that load later would stay in the heap."""
    if params.afe_chip == AFE_LTC6813:
        from rack.drivers import ltc681x  # noqa: F401 - only to load it
        from rack.hal import rp2_afe_spi  # noqa: F401 - only to load it
    else:
        from rack.drivers import bq79616  # noqa: F401 - only to load it
    if params.modbus_enabled:
        from rack.comms import modbus_slave  # noqa: F401 - only to load it
        from rack.hal import rp2_rs485  # noqa: F401 - only to load it


def _load_in_steps(params):
    """Load the application; after each step its code runs from flash, because the heap cannot hold all of it at once.

    Code that is not found in flash stays in the heap.
    """
    from rack.hal.rp2_run_from_flash import move
    from rack.control import controller  # noqa: F401 - only to load it

    move()
    gc.collect()
    _load_selected_modules(params)
    from rack.hal import rp2_board  # noqa: F401 - only to load it

    move()
    gc.collect()
    from rack import app  # noqa: F401 - only to load it

    move()
    del move
    _unload_module("rack.hal", "rp2_run_from_flash")


def _unload_module(package, name):
    """Remove a module that only the start needs: its code is in the heap."""
    if sys.modules.pop(package + "." + name, None) is not None:
        delattr(sys.modules[package], name)
    gc.collect()


def _enter_maintenance():
    """Reset into maintenance mode without a config."""
    from rack.hal.rp2_board import enter_maintenance

    enter_maintenance()


def standby(reason, port=None):
    """Contactors open, console only: the config was refused or the application has failed."""
    from rack.comms.commands_read import Commands
    from rack.comms.console_protocol import Console
    from rack.comms.terminal import Stdio

    console = Console(Stdio(), Commands(None, reason, port, _enter_maintenance).table, Commands.help)
    console.notice("standby: " + reason)
    while True:
        console.poll()
        if port is not None:
            port.feed_wdt()
            port.idle()
