"""Console commands of the frequency response: the recorder's trace, response tests, messages about the pair.

A test moves real power. So the operator asks for it, reads the expected power, and acknowledges within ten seconds;
a single command does not start a test. Only `rearm` gives up a frozen trace.
"""

from micropython import const

from rack.generated import ids as I
from rack.base.clock import TICKS_MASK
from rack.comms.ems import PAIR, VALUES
from rack.control.protect.reasons import piece
from rack.control.response.recorder import CAUSE_COMMAND, CAUSES, COLUMNS
from rack.control.response.response_test import RAMP, REFUSED_VALUE, STEP
from rack.definitions.codes import REFUSED_ALONE
from rack.generated.texts import REFUSALS

_ACKNOWLEDGE_ms = const(10_000)

_OFF = "tests are not enabled in the config"
_UNITS = (("", "mHz"), ("", "mHz/s", "Hz/s"))       # of STEP and RAMP
_PAIR = "pair takes SoC of sodium and of lithium in 0.01 %%, out 0 or 1, W within +-%d"
HELP = (
    "trace:mains periods as CSV rows; trace now freezes them|rearm:discard the trace, record again"
    "|response:commissioning: response test step -500|pair:the EMS's message about the pair"
)
_USAGE = "response test [step <mHz> | ramp <mHz/s> | acknowledge | stop]"


def _texts():
    """The module with the texts of a test. Only a rack with tests loads it: it takes 2.5 kB of the heap."""
    from rack.control.response import response_test

    return response_test


class ResponseCommands:
    """app: rack.app.App with controller, recorder and port."""

    def __init__(self, app):
        self._app = app
        self._asked = None      # (kind, value, time in ms) of a test that is not acknowledged yet
        self.table = {
            "trace": (self._trace, "now"),
            "rearm": self._rearm,
            "response": (self._response, ""),
            "pair": (self._pair, ""),
        }

    # -- recorder

    def _trace(self, words):
        if words:
            self._app.recorder.freeze()
        return self._rows()

    def _rows(self):
        """The trace; its rows only once it is frozen, because the interrupt still writes before."""
        trace = self._app.recorder
        frozen = trace.frozen       # read once: the trace may freeze between two pieces
        yield ',"frozen":%s' % ("true" if frozen else "false")
        yield ',"cause":"%s","count":%d' % (piece(CAUSES, trace.cause), len(trace))
        yield ',"columns":"'
        yield COLUMNS[:48]
        yield COLUMNS[48:]
        yield '","rows":['
        if frozen:
            comma = ""
            for line in trace.lines():
                yield '%s"%s"' % (comma, line)
                comma = ","
        yield "]"

    def _rearm(self, words):
        self._app.recorder.rearm()
        return (',"ok":true',)

    # -- the pair

    def _pair(self, words):
        """Apply the EMS's message about the pair, valid for five seconds. Answers the values for the other rack."""
        app = self._app
        ems = app.ems
        minimum, maximum = ems.minimum, ems.maximum
        if not app.params.pair_role:
            raise ValueError(piece(REFUSALS, REFUSED_ALONE))
        try:
            numbers = tuple(int(word) for word in words)
            if len(numbers) != VALUES - PAIR:
                raise ValueError
            for at in range(PAIR, VALUES):
                if not minimum[at] <= numbers[at - PAIR] <= maximum[at]:
                    raise ValueError
        except ValueError:
            raise ValueError(_PAIR % maximum[VALUES - 1])
        for at in range(PAIR, VALUES):
            ems.values[at] = numbers[at - PAIR]
        ems.apply(PAIR, VALUES)
        s = app.controller.s
        return (',"ok":true,"soc_cpct":%d,"short_W":%d' % (s[I.SOC_cpct], s[I.SHORT_W]),)

    # -- commissioning

    def _response(self, words):
        if not words or words[0] != "test":
            raise ValueError(_USAGE)
        test = self._app.controller.response.test
        if test is None:
            raise ValueError(_OFF)
        words = words[1:]
        if not words:
            return self._result(test)
        if words == ["stop"]:
            self._asked = None
            test.stop()
            return (',"ok":true',)
        if words == ["acknowledge"]:
            return self._start(test)
        if len(words) in (2, 3) and words[0] in ("step", "ramp"):
            kind = RAMP if words[0] == "ramp" else STEP
            return self._ask(test, kind, words[1], words[2] if len(words) == 3 else "")
        raise ValueError(_USAGE)

    def _ask(self, test, kind, text, unit):
        """Check a test and keep it until it is acknowledged. unit: "", mHz, mHz/s or Hz/s, as the kind allows."""
        self._asked = None
        if unit not in _UNITS[kind]:
            self._check(REFUSED_VALUE)
        try:
            value = int(text) * (1000 if unit == "Hz/s" else 1)
        except ValueError:
            self._check(REFUSED_VALUE)
        self._check(test.refusal(kind, value))
        self._check_recorder()
        self._asked = (kind, value, self._app.port.ticks_ms())
        return (
            ',"asked":"%s","value":%d' % (piece(_texts().KINDS, kind), value),
            ',"expected_W":%d' % test.expects(kind, value),
            ',"acknowledge_ms":%d' % _ACKNOWLEDGE_ms,
        )

    def _start(self, test):
        asked, self._asked = self._asked, None
        if asked is None:
            raise ValueError("nothing to acknowledge: ask for a step or a ramp first")
        kind, value, at_ms = asked
        if (self._app.port.ticks_ms() - at_ms) & TICKS_MASK > _ACKNOWLEDGE_ms:
            raise ValueError("acknowledged too late: ask again")
        self._check_recorder()
        self._check(test.start(kind, value))
        self._app.recorder.trigger(CAUSE_COMMAND)
        return (',"ok":true,"started":"%s"' % piece(_texts().KINDS, kind),)

    def _check_recorder(self):
        if self._app.recorder.cause:
            raise ValueError("the recorder holds a trace: read it, then rearm")

    def _check(self, refused):
        if refused:
            raise ValueError(piece(_texts().REFUSAL_TEXTS, refused))

    def _result(self, test):
        texts = _texts()
        yield ',"test":"%s"' % piece(texts.RESULTS, test.result)
        yield ',"kind":"%s","value":%d' % (piece(texts.KINDS, test.kind), test.value)
        yield ',"elapsed_ms":%d,"injected_mHz":%d' % (test.elapsed_ms, test.injected_mHz)
        yield ',"delay_ms":%d,"rise_ms":%d' % (test.delay_ms, test.rise_ms)
        yield ',"settle_ms":%d' % test.settle_ms
        yield ',"peak_W":%d,"final_W":%d' % (test.peak_W, test.final_W)
        yield ',"expected_W":%d' % test.expected_W
        yield ',"contracted_W":%d' % self._app.controller.response.contracted_W
        yield ',"error_permille":%d' % test.error_permille
