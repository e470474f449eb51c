"""The command protocol of the running application: a line in, one line of JSON out.

In run mode Ctrl-C and the REPL are off (rule R7), so the console is the only access, and no input may stop, delay or
confuse the scan. Long answers are generators that run in idle time, one bounded piece a call. Unsolicited lines start
with "# ".
"""

import micropython
from micropython import const

from rack.base.viper import ptr8

_LINE = const(120)          # longest command line
_WORD = const(16)           # characters of an unknown command that a refusal echoes, if they are letters only
_OWN = b"{#"                # first characters of the console's own lines; a terminal may echo them back
_PIECE = const(64)          # characters of the longest piece of an answer


@micropython.viper
def _escape(out, data, size: int) -> int:
    """Write size bytes of UTF-8 as a JSON string; returns its length. "?" replaces other characters than ASCII."""
    target = ptr8(out)
    source = ptr8(data)
    target[0] = 34
    to = 1
    at = 0
    while at < size:
        byte = int(source[at])
        at += 1
        if byte >> 6 == 2:      # a later byte of a character
            continue
        if byte == 34 or byte == 92:
            target[to] = 92
            to += 1
        target[to] = byte if byte >= 32 and byte <= 126 else 63
        to += 1
    target[to] = 34
    return to + 1


def quote(text):
    """JSON string of text that may hold quotes, backslashes or control characters.

    A kernel does it: a loop over a str makes a string of each character, 5 ms for a refusal.
    """
    data = bytes(text, "utf-8")
    out = bytearray(2 * len(data) + 2)
    return str(out[: _escape(out, data, len(data))], "ascii")


class Console:
    """Reads commands from `stdio`, runs them from `table`, sends their answers piece by piece.

    table: {name: handler}. A handler gets the list of the line's other words and returns an iterable of text pieces,
    each below 64 characters. It refuses by ValueError(reason). A command with words has (handler, word) instead: the
    only word that it accepts, "" for any words.
    texts: help texts of the commands, "name:text" with "|" between, in one text or more.
    """

    def __init__(self, stdio, table, texts):
        self._stdio = stdio
        self._table = table
        self._line = bytearray(_LINE)
        self._length = 0
        self._too_long = False
        self._odd = False       # a byte of the line is not printable ASCII
        self.busy = False       # a line waits or an answer is being sent
        self._ended = False     # a complete line waits
        self._answer = None
        self._texts = texts
        table["help"] = self._help

    def flush(self):
        """Send waiting bytes while the port takes them; True when a byte was sent. Idle time only."""
        return self._stdio.drain()

    def notice(self, text):
        """Queue an unsolicited line."""
        self._stdio.write("# " + text + "\n")

    def poll(self):
        """Run one bounded slice. Idle time only.

        During an answer: its next piece, or some bytes sent if the ring has no room for a piece. Otherwise: run a
        complete line, or read at most 16 bytes. A slice stays below 3 ms, because the application starts one shortly
        before a scan when it has postponed the console for long (docs/reaction_times.md).
        """
        if self._answer is None:
            self._stdio.drain()
            self._listen()
        elif self._stdio.room() < 2 * _PIECE:
            self._stdio.drain()
        else:
            self._continue(self._answer)
        self.busy = self._ended or self._answer is not None

    def _listen(self):
        if self._ended:
            self._ended = False
            self._end_of_line()
            return
        for _ in range(16):
            byte = self._stdio.read()
            if byte < 0:
                return
            if byte in (10, 13):
                self._ended = True
                return
            self._keep(byte)

    def _keep(self, byte):
        if not 32 <= byte <= 126:
            self._odd = True
        if self._length < _LINE:
            self._line[self._length] = byte
            self._length += 1
        else:
            self._too_long = True

    def _end_of_line(self):
        length, self._length = self._length, 0
        too_long, self._too_long = self._too_long, False
        odd, self._odd = self._odd, False
        if not length or self._line[0] in _OWN:
            return
        if too_long:
            self._refuse("", "line longer than %d characters" % _LINE)
            return
        if odd:
            self._refuse("", "the line holds bytes that are not printable ASCII")
            return
        self._run(str(self._line[:length], "ascii").split())

    def _run(self, words):
        if not words:
            return
        handler = self._table.get(words[0])
        if handler is None:
            name = words[0][:_WORD]
            self._refuse(name if name.isalpha() else "", "no such command; try help")
            return
        word = None
        if isinstance(handler, tuple):
            handler, word = handler
        if len(words) > 1 and (word is None or (word and words[1:] != [word])):
            self._refuse(words[0], "takes no such words")
            return
        try:
            answer = handler(words[1:])
        except ValueError as error:
            self._refuse(words[0], str(error))
            return
        self._stdio.write('{"re":' + quote(words[0]))
        self._answer = iter(answer)

    def _refuse(self, command, reason):
        self._stdio.write('{"re":%s,"error":%s}\n' % (quote(command), quote(reason)))

    def _continue(self, answer):
        piece = next(answer, None)
        if piece is None:
            self._answer = None
            self._stdio.write("}\n")
            return
        self._stdio.write(piece)

    def _help(self, words):
        yield ',"commands":{"help":"list the commands"'
        for text in self._texts:
            at = 0
            while at < len(text):
                end = text.find("|", at)
                if end < 0:
                    end = len(text)
                name, _, what = text[at:end].partition(":")
                if name in self._table:
                    yield ',"%s":"%s"' % (name, what)       # not quoted, which would take time: they are plain
                at = end + 1
        yield "}"
