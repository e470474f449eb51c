"""What the console can be asked to do: close, open, reset, unlock, the EMS's words, maintenance mode.

Half a garbled line, or the wrong person, must not close anything: words are counted, refusals come from
Controller.command, and what needs a maintenance right takes an answer to a challenge. `links` only tells; it is
here because the file of the other views is full, see there.
"""

from rack.generated import ids as I
from rack.comms.auth import Challenge
from rack.comms.ems import INSULATION, SETPOINT
from rack.definitions import codes as bits
from rack.control.protect.reasons import piece

HELP = (
    "maintenance:ask for a nonce; answer it to enter the mode|close:close the contactors"
    "|open:open the contactors|reset:acknowledge latched trips"
    "|unlock:leave the lock-out, with the answer to a nonce|setpoint:EMS power in W, positive discharges"
    "|insulation:what the EMS's monitor measures, in kohm|links:counters of the chips and their wires"
)
# REFUSED_* of rack.definitions.codes; one text, as long ones are used where they lie in flash
_REFUSED = (
    b"|no such command|a trip is latched: find its cause, then reset"
    b"|locked out after repeated trips: a maintenance right is needed|the cause of a trip is still there"
    b"|not in this state"
)
# what `links` tells, in its order
_LINKS = (
    b"afe_invalid|afe_wakes|can_starts|can_bus_offs|can_aborted|can_overflows|can_tec|can_rec"
    b"|shunt_starts|shunt_errors|fram_errors"
)


class ActingCommands:
    """app: rack.app.App, or None in standby, which knows maintenance mode only."""

    def __init__(self, app, port, enter_without_port):
        self._app = app
        self._port = port
        self._enter_without_port = enter_without_port
        self._challenge = None
        self.table = {"maintenance": (self._maintenance, "")}
        if app is not None:
            self._challenge = Challenge(app.params.maintenance_key, _random)
            self.table.update(
                {
                    "close": self._close,
                    "open": (self._open, ""),      # whatever else is on the line
                    "reset": self._acknowledge,
                    "unlock": (self._unlock, ""),
                    "setpoint": (self._setpoint, ""),
                    "insulation": (self._insulation, ""),
                    "links": self._links,
                }
            )

    def _do(self, command):
        app = self._app
        refused = app.acknowledge() if command == bits.CMD_RESET else app.controller.command(command)
        if refused:
            raise ValueError(piece(_REFUSED, refused))
        return (',"ok":true',)

    def _close(self, words):
        answer = self._do(bits.CMD_CLOSE)
        self._app.ems.held = False
        return answer

    def _open(self, words):
        self._app.ems.held = True
        return self._do(bits.CMD_OPEN)

    def _acknowledge(self, words):
        return self._do(bits.CMD_RESET)

    def _setpoint(self, words):
        return self._said(SETPOINT, words, "setpoint in W")

    def _insulation(self, words):
        return self._said(INSULATION, words, "insulation in kohm")

    def _said(self, at, words, what):
        """A word of the EMS; from then on its silence is an alarm (`ems_lost`)."""
        ems = self._app.ems
        least, most = ems.least[at], ems.most[at]
        try:
            (text,) = words
            value = int(text)
            if not least <= value <= most:      # before an array of 32 bits can cut it
                raise ValueError
        except ValueError:
            raise ValueError("%s: one whole number, %d to %d" % (what, least, most))
        ems.values[at] = value
        ems.say(at, at + 1)
        return (',"ok":true',)

    def _links(self, words):
        app = self._app
        afe, can, shunt = app.afe, app.can, app.shunt
        counted = (afe.invalid, afe.wakes, can.starts, can.bus_offs, can.aborted, can.rx_overflows, can.tec, can.rec,
                   shunt.starts, shunt.errors, app.storage.log.fram.errors)
        for index in range(len(counted)):
            yield ',"%s":%d' % (piece(_LINKS, index), counted[index])

    def _maintenance(self, words):
        """Nonce without words; with the nonce's HMAC: into maintenance mode, unless current flows."""
        if self._challenge is None:         # no config, so no key, and nothing that could close
            self._enter_maintenance()
        if not words:
            return (',"nonce":"%s"' % self._challenge.ask(),)
        self._prove(words)
        s = self._app.controller.s
        if abs(s[I.CURRENT_dA]) > self._app.params.contactor_low_dA:
            raise ValueError("under load: %d dA flow; take the load off first" % s[I.CURRENT_dA])
        return self._enter_maintenance()

    def _prove(self, words):
        if len(words) != 1 or not self._challenge.accepts(words[0]):
            raise ValueError("wrong answer: ask for a new nonce")

    def _unlock(self, words):
        """A maintenance right: takes the HMAC of a nonce, as maintenance does."""
        self._prove(words)
        return self._do(bits.CMD_UNLOCK)

    def _enter_maintenance(self):
        if self._port is not None:
            self._port.reset_to_maintenance()
        self._enter_without_port()


def _random(count):
    import os

    return os.urandom(count)
