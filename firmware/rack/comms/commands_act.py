"""Console commands that act: close, open, reset, unlock, messages of the EMS, maintenance mode.

A garbled line, or a person without the right, must not close the contactors. So the number of words is checked,
Controller.command decides about refusals, and the commands of the maintenance right need the answer to a challenge.
`links` only reads; it is here because commands_read.py has reached its size limit.
"""

from rack.generated import ids as I
from rack.comms.auth import Challenge
from rack.comms.ems import INSULATION, SETPOINT
from rack.definitions import codes
from rack.control.protect.reasons import piece
from rack.generated.texts import REFUSALS

HELP = (
    "maintenance:ask for a nonce; answer it to enter the mode|close:close the contactors"
    "|open:open the contactors|reset:acknowledge latched trips"
    "|unlock:leave the lock-out, with the answer to a nonce|setpoint:EMS power in W, positive discharges"
    "|insulation:resistance measured by the EMS's monitor, kohm|links:counters of the chips and their wires"
)
# names of the counters of `links`, in its order; one text, because the board uses a long text directly from flash
_LINKS = (
    b"afe_invalid|afe_wakes|can_starts|can_bus_offs|can_aborted|can_overflows|can_tec|can_rec"
    b"|shunt_starts|shunt_errors|fram_errors"
)


class ActingCommands:
    """app: rack.app.App; None in standby, which has only the command `maintenance`."""

    def __init__(self, app, port, enter_without_port):
        self._app = app
        self._port = port
        self._enter_without_port = enter_without_port
        self._challenge = None
        self.table: dict = {"maintenance": (self._maintenance, "")}
        if app is not None:
            self._challenge = Challenge(app.params.maintenance_key, _random)
            self.table.update(
                {
                    "close": self._close,
                    "open": (self._open, ""),      # with any other words on the line: opening must not fail
                    "reset": self._reset,
                    "unlock": (self._unlock, ""),
                    "setpoint": (self._setpoint, ""),
                    "insulation": (self._insulation, ""),
                    "links": self._links,
                }
            )

    def _done(self, refused):
        if refused:
            raise ValueError(piece(REFUSALS, refused))
        return (',"ok":true',)

    def _close(self, words):
        return self._done(self._app.controller.command(codes.CMD_CLOSE, codes.BY_CONSOLE))

    def _open(self, words):
        return self._done(self._app.controller.command(codes.CMD_OPEN, codes.BY_CONSOLE))

    def _reset(self, words):
        return self._done(self._app.acknowledge(codes.BY_CONSOLE))

    def _setpoint(self, words):
        return self._message(SETPOINT, words, "setpoint in W")

    def _insulation(self, words):
        return self._message(INSULATION, words, "insulation in kohm")

    def _message(self, at, words, name):
        """Apply one value of the EMS. From the first message on, silence of the EMS is an alarm (`ems_lost`)."""
        ems = self._app.ems
        minimum, maximum = ems.minimum[at], ems.maximum[at]
        try:
            (text,) = words
            value = int(text)
            if not minimum <= value <= maximum:     # checked here, before the array of 32 bits truncates it
                raise ValueError
        except ValueError:
            raise ValueError("%s: one whole number, %d to %d" % (name, minimum, maximum))
        ems.values[at] = value
        ems.apply(at, at + 1)
        return (',"ok":true',)

    def _links(self, words):
        app = self._app
        afe, can, shunt = app.afe, app.can, app.shunt
        counts = (afe.invalid, afe.wakes, can.starts, can.bus_offs, can.aborted, can.rx_overflows, can.tec, can.rec,
                  shunt.starts, shunt.errors, app.storage.log.fram.errors)
        for index in range(len(counts)):
            yield ',"%s":%d' % (piece(_LINKS, index), counts[index])

    def _maintenance(self, words):
        """Without a word: a nonce. With the nonce's HMAC: enter maintenance mode, unless current flows."""
        if self._challenge is None:         # standby: without a config the contactors cannot close
            return self._enter_maintenance()
        if not words:
            return (',"nonce":"%s"' % self._challenge.ask(),)
        self._prove(words)
        s = self._app.controller.s
        if abs(s[I.CURRENT_dA]) > self._app.params.contactor_low_dA:
            raise ValueError("under load: %d dA flow; take the load off first" % s[I.CURRENT_dA])
        return self._enter_maintenance()

    def _prove(self, words):
        if self._challenge is None or len(words) != 1 or not self._challenge.accepts(words[0]):
            raise ValueError("wrong answer: ask for a new nonce")

    def _unlock(self, words):
        """Leave the lock-out, release a deep discharge. Needs the HMAC of a nonce, as `maintenance` does."""
        self._prove(words)
        return self._done(self._app.controller.command(codes.CMD_UNLOCK, codes.BY_KEY))

    def _enter_maintenance(self):
        if self._port is not None:
            self._port.reset_to_maintenance()
        self._enter_without_port()


def _random(count):
    import os

    return os.urandom(count)
