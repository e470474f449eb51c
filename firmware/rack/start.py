"""From reset to the running application, or to standby with the reason.

A rack that runs on a doubtful config, or that dies without a word, is the hazard. The config is
read before anything else, while the heap is empty, and the code that only checks it is forgotten.
"""

import gc
import sys
from binascii import crc32

import micropython
from micropython import const

_TIDY_BYTES = const(32_768)     # collect so often while modules load: what they leave behind keeps no holes open

CONFIG_PATH = "config.bin"


def main():
    """Run mode, called by main.py. Does not return."""
    micropython.kbd_intr(-1)
    port = app = None
    try:
        _know_builtin()
        params, crc = _read_config()
        gc.threshold(_TIDY_BYTES)
        from rack.app import App
        from rack.hal.rp2_board import Port

        if params.modbus_enabled:
            from rack.comms import modbus_slave as modbus
            from rack.hal import rp2_rs485

            del modbus, rp2_rs485       # loaded before the code is looked for in flash
        _use_flash()
        port = Port(params)
        app = App(params, port, crc)
        del params
        gc.threshold(-1)
        app.run()       # which collects once more
    except _Refused as refused:
        reason = str(refused)
    except Exception as error:
        sys.print_exception(error)
        reason = "%s: %s" % (type(error).__name__, error)
    if app is not None:
        app.stop()
    standby(reason, port)


def _know_builtin():
    """Enter the image's own modules as loaded: else each import of one looks for a file of its name first.

    It does so to let a file extend them (process_import_at_level, py/builtinimport.c of MicroPython): 3.5 ms on the
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
        _forget("rack", "config")
        _forget("rack.definitions", "params")
    return params, crc32(data)


def _use_flash():
    """Run the code from flash; the heap keeps what is not found there."""
    from rack.hal import rp2_run_from_flash as rp2_in_place

    rp2_in_place.move()
    _forget("rack.hal", "rp2_in_place")


def _forget(package, name):
    """Drop a module that only the start needs: its code lives in the heap."""
    if sys.modules.pop(package + "." + name, None) is not None:
        delattr(sys.modules[package], name)
    gc.collect()


def standby(reason, port=None):
    """Contactors open, console only: the config was refused or the application has failed."""
    from rack.comms.commands_read import Commands
    from rack.comms.console_protocol import Console
    from rack.comms.terminal import Stdio

    console = Console(Stdio(), Commands(None, reason, port).table, Commands.help)
    console.notice("standby: " + reason)
    while True:
        console.poll()
        if port is not None:
            port.feed_wdt()
            port.idle()
