"""The RS-485 line on RP2040: a state machine sends and holds the driver enable, UART1 receives, both through DMA.

Hazard: a driver that stays enabled jams the line of every rack. The state machine raises the driver enable before the
first start bit and lowers it right after the last stop bit, when its FIFO is empty, also while the interpreter hangs.
Neither direction uses an interrupt, so the interrupt of the zero crossing is not delayed.
Registers: RP2040 data sheet 2.5.7 (DMA), 3.7 (PIO), 4.2.8 (UART).
"""

import micropython
import rp2
from machine import UART, Pin
from micropython import const
from uctypes import addressof

from rack.base.viper import ptr8, ptr32
from rack.hal import chip_rp2040 as chip

_SM = const(7)                      # the last one of PIO1; the first three measure the mains
_CYCLES = const(8)                  # cycles of the program for each bit
_TX_DREQ = const(11)                # PIO1_TX3
_TX_FIFO = const(0x5030001C)        # TXF3 of PIO1
_EXECCTRL_SET = const(0x50302114)   # atomic set alias of SM3_EXECCTRL of PIO1
_RING_bits = const(8)               # the ring is as long as the longest frame
_RING = const(256)
_BLOCK = const(16)                  # bytes of a block of the heap
_COUNT = const(0x0FFFFFFF)          # transfers: the maximum of an RP2350, and hours of a busy line

# places in the program that the parity changes, see `transmit`
_AT_START = const(3)
_AT_PARITY = const(12)
_ODD = const(1)                     # SET Y, 1 instead of SET Y, 0
_SECOND_STOP = const(0xF701)        # SET PINS, 1, side 1, delay 7


@rp2.asm_pio(out_init=rp2.PIO.OUT_HIGH, set_init=rp2.PIO.OUT_HIGH, sideset_init=rp2.PIO.OUT_LOW,
             out_shiftdir=rp2.PIO.SHIFT_RIGHT, pull_thresh=8)
def transmit():
    """Eleven bits for each byte: start, eight data bits from the lowest, parity, stop. Side-set: driver enable."""
    wrap_target()
    pull(block)             .side(0)        # wait for a byte
    set(pins, 1)            .side(1)[15]    # driver on, and the line idle for two bits
    label("byte")
    set(pins, 0)            .side(1)
    set(y, 0)               .side(1)[5]     # even: parity of the bits sent so far
    label("bit")
    out(x, 1)               .side(1)
    mov(pins, x)            .side(1)
    jmp(not_x, "zero")      .side(1)
    mov(y, invert(y))       .side(1)
    jmp("sent")             .side(1)
    label("zero")
    nop()                   .side(1)[1]
    label("sent")
    jmp(not_osre, "bit")    .side(1)[2]
    nop()                   .side(1)
    mov(pins, y)            .side(1)[7]
    set(pins, 1)            .side(1)[3]
    mov(x, status)          .side(1)        # all ones when the FIFO is empty
    jmp(not_x, "more")      .side(1)
    nop()                   .side(1)[1]
    wrap()
    label("more")
    pull(block)             .side(1)
    jmp("byte")             .side(1)


def _aligned():
    """(object, address) of a ring at a multiple of its length, where DMA wraps. The heap has no aligned allocation."""
    tried = []
    while len(tried) < _RING // _BLOCK:
        space = bytearray(_RING + _BLOCK)       # one block longer, so that each has another alignment
        if addressof(space) % _RING == 0:
            return space, addressof(space)
        tried.append(space)
    space = bytearray(2 * _RING)
    return space, (addressof(space) + _RING - 1) & -_RING


@micropython.viper
def _connect(in_at: int, out_at: int):
    """Connect both DMA channels and start the receiving one. In viper, because elsewhere such numbers are objects."""
    uart = ptr32(chip.UART1)
    uart[14] = 0                        # UARTIMSC: no interrupts
    uart[18] = 1                        # UARTDMACR: RXDMAE
    dma = ptr32(in_at)
    dma[0] = int(chip.UART1)            # READ_ADDR: UARTDR
    dma[7] = _COUNT                     # TRANS_COUNT, and go
    dma = ptr32(out_at)
    dma[1] = int(_TX_FIFO)              # WRITE_ADDR


@micropython.viper
def _watch_fifo():
    """STATUS of the program: transmit FIFO level < 1."""
    register = ptr32(_EXECCTRL_SET)
    register[0] = 1


class Rs485:
    """The line for rack.comms.modbus_slave. Only `stop` allocates."""

    def __init__(self, p):
        tx, rx = Pin(p.pins_rs485_tx), Pin(p.pins_rs485_rx, Pin.IN, Pin.PULL_UP)
        parity = (None, 1, 0)[p.modbus_parity]
        self._uart = UART(1, p.modbus_baud, parity=parity, tx=tx, rx=rx, rxbuf=32, txbuf=32)
        self._space, self._ring = _aligned()
        self._in = dma = rp2.DMA()
        dma.config(write=self._ring, ctrl=dma.pack_ctrl(
            size=0, inc_read=False, ring_size=_RING_bits, ring_sel=True, treq_sel=chip.UART1_RX_DREQ))
        self._in_at = chip.DMA + 0x40 * dma.channel
        self._marks = bytearray(8)                  # its TRANS_COUNT when an answer begins and ends, see `echoed`
        self._mark = mark = rp2.DMA()
        mark.config(read=self._in_at + 8, write=addressof(self._marks) + 4, count=1,
                    ctrl=mark.pack_ctrl(size=2, inc_read=False, inc_write=False))
        self._out = dma = rp2.DMA()
        dma.config(ctrl=dma.pack_ctrl(size=0, inc_write=False, treq_sel=_TX_DREQ, chain_to=mark.channel))
        self._out_at = chip.DMA + 0x40 * dma.channel
        _connect(self._in_at, self._out_at)
        self._de = p.pins_rs485_de
        self._baud = p.modbus_baud
        self._pins = (tx, Pin(self._de))
        code = transmit[0]
        if p.modbus_parity == 0:
            code[_AT_PARITY] = _SECOND_STOP         # Modbus over Serial Line 2.5.1: two stop bits without parity
        elif p.modbus_parity == 1:
            code[_AT_START] |= _ODD
        self._sm = rp2.StateMachine(_SM)
        self._start()

    def _start(self):
        tx, de = self._pins
        sm = self._sm
        sm.init(transmit, freq=_CYCLES * self._baud, out_base=tx, set_base=tx, sideset_base=de)
        _watch_fifo()
        sm.active(1)

    @micropython.viper
    def received(self) -> int:
        """Bytes received since the start; wraps to 0 at 2**28 - 1."""
        dma = ptr32(self._in_at)                    # 2 TRANS_COUNT, 7 the same with a trigger
        left = int(dma[2]) & _COUNT
        if left == 0:
            dma[7] = _COUNT
            return 0
        return _COUNT - left

    @micropython.viper
    def take(self, frame, count: int) -> int:
        """Copy the last count received bytes, at most 256, into the frame; returns their number."""
        if count <= 0 or count > _RING:
            count = _RING
        ring = ptr8(self._ring)
        b = ptr8(frame)
        dma = ptr32(self._in_at)
        begin = int(dma[1]) - count                 # WRITE_ADDR
        at = 0
        while at < count:
            b[at] = ring[(begin + at) & (_RING - 1)]
            at += 1
        return count

    @micropython.viper
    def send(self, frame, length: int):
        """Send frame[:length] and return at once; the frame must not change until `sending` is 0."""
        dma = ptr32(self._in_at)
        marks = ptr32(self._marks)
        marks[0] = int(dma[2])
        marks[1] = int(dma[2])
        dma = ptr32(self._out_at)
        dma[0] = int(ptr8(frame))                   # READ_ADDR
        dma[7] = length                             # TRANS_COUNT, and go

    @micropython.viper
    def sending(self) -> int:
        """1 from `send` until the driver is off."""
        dma = ptr32(self._out_at)
        sio = ptr32(chip.SIO)
        busy = int(dma[3]) & chip.DMA_BUSY          # CTRL
        if busy or int(sio[1]) >> int(self._de) & 1:
            return 1
        return 0

    @micropython.viper
    def echoed(self) -> int:
        """1 if the receiver was on while the answer was sent. Answers of five bytes are too short for this.

        DMA stores the number of received bytes when the last byte is in the FIFO and four others are still to be sent.
        """
        marks = ptr32(self._marks)
        if int(marks[0]) == int(marks[1]):
            return 0
        return 1

    def stop(self, now_us):
        """Driver off, for a transmitter that does not end. Takes longer than a slice of the slave, and allocates."""
        self._sm.active(0)
        self._out.active(False)
        self._start()
