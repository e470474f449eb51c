"""What the console can ask of the fast response: the recorded event, commissioning tests, word from the pair.

A test moves real power, so it is asked for, told what it will move, and acknowledged within ten
seconds; one word alone starts nothing. A frozen trace is only given up by an explicit `rearm`.
"""

from micropython import const

from rack.generated import ids as I
from rack.comms.ems import PAIR, WORDS
from rack.control.response.recorder import CAUSE_COMMAND, COLUMNS

_ACKNOWLEDGE_ms = const(10_000)
_MASK = const(0x3FFFFFFF)

# In the order of the constants of rack.control.response.recorder and rack.control.response.response_test
_CAUSES = ("none", "frequency", "trip", "command")
_KINDS = ("step", "ramp")
_UNITS = (("", "mHz"), ("", "mHz/s", "Hz/s"))
_RESULTS = ("idle", "running", "done", "ended_by_grid", "stopped")
_OFF = "tests are not enabled in the config"
_VALUES = "step takes 1..1000 mHz, ramp 1..4000 mHz/s or 1..4 Hz/s, whole numbers of either sign"
_REFUSED = (
    "",
    _OFF,
    "no mains, or the grid is not quiet",
    _VALUES,
    "the rack may not deliver this now: closed, and limits above the expected power?",
    "a test is running; response test stop ends it",
    "the step service has fired: it is ready again when the grid has rested",
)
_ALONE = "this rack is no part of a pair: [pair] role is 0"
_PAIR = "pair takes SoC of sodium and of lithium in 0.01 %%, out 0 or 1, W within +-%d"
HELP = (
    "events:recorded event as CSV rows; events now freezes it|rearm:forget the recorded event, record aga"
    "in|response:commissioning: response test step -500|pair:what the EMS tells about the pair"
)
_USAGE = "response test [step <mHz> | ramp <mHz/s> | acknowledge | stop]"


class ResponseCommands:
    """app: rack.app.App with controller, recorder and port."""

    def __init__(self, app):
        self._app = app
        self._asked = None      # (kind, value, time in ms) that waits to be acknowledged
        self.table = {
            "events": (self._events, "now"),
            "rearm": self._rearm,
            "response": (self._response, ""),
            "pair": (self._pair, ""),
        }

    # -- recorder

    def _events(self, words):
        if words:
            self._app.recorder.freeze()
        return self._trace()

    def _trace(self):
        """Rows only of a frozen trace: one that is being written would be torn."""
        trace = self._app.recorder
        frozen = trace.frozen       # it may freeze between two pieces
        yield ',"frozen":%s' % ("true" if frozen else "false")
        yield ',"cause":"%s","count":%d' % (_CAUSES[trace.cause], len(trace))
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
        """The EMS's word about the pair; answers what it has to tell the other rack. Good for five seconds."""
        app = self._app
        ems = app.ems
        least, most = ems.least, ems.most
        if not app.params.pair_role:
            raise ValueError(_ALONE)
        try:
            numbers = tuple(int(word) for word in words)
            if len(numbers) != WORDS - PAIR:
                raise ValueError
            for at in range(PAIR, WORDS):
                if not least[at] <= numbers[at - PAIR] <= most[at]:
                    raise ValueError
        except ValueError:
            raise ValueError(_PAIR % most[WORDS - 1])
        for at in range(PAIR, WORDS):
            ems.values[at] = numbers[at - PAIR]
        ems.say(PAIR, WORDS)
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
        if len(words) in (2, 3) and words[0] in _KINDS:
            return self._ask(test, _KINDS.index(words[0]), words[1], words[2] if len(words) == 3 else "")
        raise ValueError(_USAGE)

    def _ask(self, test, kind, text, unit):
        """unit: none, mHz, mHz/s or Hz/s; another one, or one of the other kind, is refused."""
        self._asked = None
        if unit not in _UNITS[kind]:
            raise ValueError(_VALUES)
        try:
            value = int(text) * (1000 if unit == "Hz/s" else 1)
        except ValueError:
            raise ValueError(_VALUES)
        self._check(test.refusal(kind, value))
        self._check_recorder()
        self._asked = (kind, value, self._app.port.ticks_ms())
        return (
            ',"asked":"%s","value":%d' % (_KINDS[kind], value),
            ',"expected_W":%d' % test.expects(kind, value),
            ',"acknowledge_ms":%d' % _ACKNOWLEDGE_ms,
        )

    def _start(self, test):
        asked, self._asked = self._asked, None
        if asked is None:
            raise ValueError("nothing to acknowledge: ask for a step or a ramp first")
        kind, value, at_ms = asked
        if (self._app.port.ticks_ms() - at_ms) & _MASK > _ACKNOWLEDGE_ms:
            raise ValueError("acknowledged too late: ask again")
        self._check_recorder()
        self._check(test.start(kind, value))
        self._app.recorder.trigger(CAUSE_COMMAND)
        return (',"ok":true,"started":"%s"' % _KINDS[kind],)

    def _check_recorder(self):
        if self._app.recorder.cause:
            raise ValueError("the recorder holds an event: read it, then rearm")

    def _check(self, refused):
        if refused:
            raise ValueError(_REFUSED[refused])

    def _result(self, test):
        yield ',"test":"%s"' % _RESULTS[test.result]
        yield ',"kind":"%s","value":%d' % (_KINDS[test.kind], test.value)
        yield ',"elapsed_ms":%d,"injected_mHz":%d' % (test.elapsed_ms, test.injected_mHz)
        yield ',"delay_ms":%d,"rise_ms":%d' % (test.delay_ms, test.rise_ms)
        yield ',"settle_ms":%d' % test.settle_ms
        yield ',"peak_W":%d,"final_W":%d' % (test.peak_W, test.final_W)
        yield ',"expected_W":%d' % test.expected_W
        yield ',"contracted_W":%d' % self._app.controller.response.contracted_W
        yield ',"error_permille":%d' % test.error_permille
