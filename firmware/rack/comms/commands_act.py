"""What the console can be asked to do: close, open, reset, unlock, the station's words, service mode.

Half a garbled line, or the wrong person, must not close anything: words are counted, refusals come from
Controller.command, and what needs a service right takes an answer to a challenge. `links` only tells; it is
here because the file of the other views is full, see there.
"""

from rack import ids as I
from rack.comms.service import Challenge
from rack.comms.station import INSULATION, SETPOINT
from rack.control import bits
from rack.control.why import piece

HELP = (
    "service:ask for a nonce, or answer it: into service mode|close:close the contactors"
    "|open:open the contactors|reset:acknowledge latched trips"
    "|unlock:leave the lock-out, with the answer to a nonce|setpoint:station power in W, positive discharges"
    "|insulation:what the station's monitor measures, in kohm|links:counters of the chips and their wires"
)
# REFUSED_* of rack.control.bits; one text, as long ones are used where they lie in flash
_REFUSED = (
    b"|no such command|a trip is latched: find its cause, then reset"
    b"|locked out after repeated trips: a service right is needed|the cause of a trip is still there|not in this state"
)
# what `links` tells, in its order
_LINKS = (
    b"afe_invalid|afe_wakes|can_starts|can_bus_offs|can_aborted|can_overflows|can_tec|can_rec"
    b"|shunt_starts|shunt_errors|fram_errors"
)


class ActingCommands:
    """app: rack.app.App, or None in standby, which knows service mode only."""

    def __init__(self, app, port):
        self._app = app
        self._port = port
        self._challenge = None
        self.table = {"service": (self._service, "")}
        if app is not None:
            self._challenge = Challenge(app.params.service_key, _random)
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
        self._app.station.held = False
        return answer

    def _open(self, words):
        self._app.station.held = True
        return self._do(bits.CMD_OPEN)

    def _acknowledge(self, words):
        return self._do(bits.CMD_RESET)

    def _setpoint(self, words):
        return self._said(SETPOINT, words, "setpoint in W")

    def _insulation(self, words):
        return self._said(INSULATION, words, "insulation in kohm")

    def _said(self, at, words, what):
        """A word of the station; from then on its silence is an alarm (`station_lost`)."""
        station = self._app.station
        least, most = station.least[at], station.most[at]
        try:
            (text,) = words
            value = int(text)
            if not least <= value <= most:      # before an array of 32 bits can cut it
                raise ValueError
        except ValueError:
            raise ValueError("%s: one whole number, %d to %d" % (what, least, most))
        station.values[at] = value
        station.say(at, at + 1)
        return (',"ok":true',)

    def _links(self, words):
        app = self._app
        afe, can, shunt = app.afe, app.can, app.shunt
        counted = (afe.invalid, afe.wakes, can.starts, can.bus_offs, can.aborted, can.rx_overflows, can.tec, can.rec,
                   shunt.starts, shunt.errors, app.memory.log.fram.errors)
        for index in range(len(counted)):
            yield ',"%s":%d' % (piece(_LINKS, index), counted[index])

    def _service(self, words):
        """Nonce without words; with the nonce's HMAC: into service mode, unless current flows."""
        if self._challenge is None:         # no config, so no key, and nothing that could close
            self._enter_service()
        if not words:
            return (',"nonce":"%s"' % self._challenge.ask(),)
        self._prove(words)
        s = self._app.controller.s
        if abs(s[I.CURRENT_dA]) > self._app.params.contactor_low_dA:
            raise ValueError("under load: %d dA flow; take the load off first" % s[I.CURRENT_dA])
        return self._enter_service()

    def _prove(self, words):
        if len(words) != 1 or not self._challenge.accepts(words[0]):
            raise ValueError("wrong answer: ask for a new nonce")

    def _unlock(self, words):
        """A service right: takes the HMAC of a nonce, as service does."""
        self._prove(words)
        return self._do(bits.CMD_UNLOCK)

    def _enter_service(self):
        if self._port is not None:
            self._port.reset_to_service()
        from rack.ports.rp2 import enter_service

        enter_service()


def _random(count):
    import os

    return os.urandom(count)
