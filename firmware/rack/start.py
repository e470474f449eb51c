"""From reset to the running application, or to standby with the reason.

A rack that runs on a doubtful config, or that dies without a word, is the hazard. The config is
read before anything else, while the heap is empty, and the code that only checks it is forgotten.
"""

import gc
import sys
from binascii import crc32

import micropython
from micropython import const

_TIDY_BYTES = const(12_288)     # collect so often while modules load: what they leave behind keeps no holes open

CONFIG_PATH = "config.bin"


def main():
    """Run mode, called by main.py. Does not return."""
    micropython.kbd_intr(-1)
    port = app = None
    try:
        params, crc = _read_config()
        gc.threshold(_TIDY_BYTES)
        from rack.app import App
        from rack.ports.rp2 import Port

        port = Port(params)
        app = App(params, port, crc)
        del params
        gc.threshold(-1)
        gc.collect()
        app.run()
    except _Refused as refused:
        reason = str(refused)
    except Exception as error:
        sys.print_exception(error)
        reason = "%s: %s" % (type(error).__name__, error)
    if app is not None:
        app.stop()
    standby(reason, port)


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
        _forget("config")
        _forget("params")
    return params, crc32(data)


def _forget(name):
    """Drop a module of this package that only the start needs: its code lives in the heap."""
    import rack

    if sys.modules.pop("rack." + name, None) is not None:
        delattr(rack, name)
    gc.collect()


def standby(reason, port=None):
    """Contactors open, console only: the config was refused or the application has failed."""
    from rack.comms.commands import Commands
    from rack.comms.console import Console
    from rack.comms.stdio import Stdio

    console = Console(Stdio(), Commands(None, reason, port).table)
    console.notice("standby: " + reason)
    while True:
        console.poll()
        if port is not None:
            port.feed_wdt()
            port.idle()
