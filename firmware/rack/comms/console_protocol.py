"""The command protocol of the running application: a line in, one line of JSON out.

In run mode Ctrl-C and the REPL are off (rule R7), so this is the only way in; nothing typed
here may stop, delay or confuse the scan. Long answers are generators that are resumed from idle
time, one bounded piece a call. Lines that nobody asked for start with "# ".
"""

import micropython
from micropython import const

from rack.base.viper import ptr8

_LINE = const(120)          # longest command line
_WORD = const(16)           # so much of an unknown word is told, nothing of what is none: escaping takes its time
_OWN = b"{#"                # so do its own lines begin: from a terminal that echoes them, they are not answered
_PIECE = const(64)          # room that one piece of an answer may need


@micropython.viper
def _escape(out, data, size: int) -> int:
    """Write size bytes of UTF-8 as a JSON string; its length. A character that is not printable ASCII becomes "?"."""
    o = ptr8(out)
    d = ptr8(data)
    o[0] = 34
    to = 1
    at = 0
    while at < size:
        c = int(d[at])
        at += 1
        if c >> 6 == 2:         # the rest of a character
            continue
        if c == 34 or c == 92:
            o[to] = 92
            to += 1
        o[to] = c if c >= 32 and c <= 126 else 63
        to += 1
    o[to] = 34
    return to + 1


def quote(text):
    """JSON string of text that may hold quotes, backslashes or control characters.

    In a kernel: to go through a text makes a string of each of its characters, 5 ms for a refusal.
    """
    data = bytes(text, "utf-8")
    out = bytearray(2 * len(data) + 2)
    return str(out[: _escape(out, data, len(data))], "ascii")


class Console:
    """Reads commands from `stdio`, runs them from `table`, sends their answers piece by piece.

    table: {name: handler}; a handler takes the list of the line's other words and returns
    an iterable of text pieces, each below 64 characters; it refuses by raising ValueError(reason). For a command that
    takes words, (handler, word): the one word that it may be given, "" for any.
    texts: what the commands do, "name:text" with "|" between, in one text or more.
    """

    def __init__(self, stdio, table, texts):
        self._stdio = stdio
        self._table = table
        self._line = bytearray(_LINE)
        self._length = 0
        self._too_long = False
        self._odd = False       # a byte of the line is no printable ASCII
        self.busy = False       # a line waits or an answer is being sent
        self._ended = False     # a whole line waits
        self._answer = None
        self._texts = texts
        table["help"] = self._help

    def flush(self):
        """Send what waits while the port takes it; True when a byte went. Idle time only."""
        return self._stdio.drain()

    def notice(self, text):
        """Queue an unsolicited line."""
        self._stdio.write("# " + text + "\n")

    def poll(self):
        """One bounded slice: a piece of an answer, or where that finds no room some bytes of it sent; else also a line
        that has ended, or at most 16 bytes. Idle time only.

        The application begins one close before a scan only when it has put the console off for long; the scan then
        waits, so a slice stays below 3 ms (docs/reaction_times.md).
        """
        if self._answer is None:
            self._stdio.drain()
            self._listen()
        elif self._stdio.room() < 2 * _PIECE:
            self._stdio.drain()
        else:
            self._continue()
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

    def _continue(self):
        piece = next(self._answer, None)
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
                    yield ',"%s":"%s"' % (name, what)       # quoting takes its time, and these need none
                at = end + 1
        yield "}"
